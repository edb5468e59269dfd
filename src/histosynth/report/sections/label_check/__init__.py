"""Labels: do samples show what their label states?"""
