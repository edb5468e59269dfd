"""Extraction of patches: slides and outlines to a patch store."""
