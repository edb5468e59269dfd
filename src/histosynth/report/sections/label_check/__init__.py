"""Label check: do synthetic patches show their label, and can a classifier learn from them?"""
