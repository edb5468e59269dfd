"""Morphology: do synthetic patches have the nuclei of real tissue?"""
