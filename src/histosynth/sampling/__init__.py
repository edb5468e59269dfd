"""Synthetic patches from a trained run, and edits of real patches."""
