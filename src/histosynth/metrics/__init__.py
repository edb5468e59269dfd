"""Measures on features and images, never on models."""
