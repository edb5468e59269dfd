"""Patches as training batches."""
