"""Stain normalization."""
