"""The analysis of readings: from a database or a CSV to the results of a study."""
