"""Slides, regions and outlines: readers, tissue, and drawn phantoms."""
