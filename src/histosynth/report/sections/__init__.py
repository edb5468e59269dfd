"""Sections of the report: one package per question, which measures, draws and words it."""
