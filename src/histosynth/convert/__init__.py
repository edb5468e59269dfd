"""Conversion: stores from tiles made elsewhere, and exports of stores for other programs."""
