"""Stain normalization of the patches of a store."""
