"""Morphology: do samples have the nuclei of real tissue?"""
