"""The report: figures, tables and their provenance in one file."""
