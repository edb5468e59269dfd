"""Color: do synthetic patches have the colors of real tissue?"""
