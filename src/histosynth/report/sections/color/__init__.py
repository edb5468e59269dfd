"""Color: do samples have the colors of real tissue?"""
