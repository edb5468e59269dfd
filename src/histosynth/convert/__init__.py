"""Stores from tiles that were cut elsewhere, and stores for other programs."""
