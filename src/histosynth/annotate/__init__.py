"""Outlines: the agreement of two annotators."""
