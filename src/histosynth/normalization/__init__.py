"""Stain normalization of the patches of a store, with a status per patch."""
