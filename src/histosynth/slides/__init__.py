"""Slides: readers, tissue detection, outlines, and phantoms."""
