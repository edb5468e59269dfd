"""Feature map: where do synthetic patches lie among real ones?"""
