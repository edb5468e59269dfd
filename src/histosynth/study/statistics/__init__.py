"""The statistics of a reader study: pure functions of arrays, one idea per module.

Terms used throughout: a reading is *correct* if the answer is the truth. *Synthetic* is the positive class, so
sensitivity is the share of synthetic patches that were called synthetic. A matrix of readings is (R, C), with one row
per reader and one column per case, and NaN where that reader did not read that case.
"""

MIN_READERS_AT_LARGE = 5
"""Minimum number of readers for conclusions about readers at large; fewer readers say little about other readers."""
