"""The statistics of a reader study: pure functions of arrays, one idea a module.

Terms, the same everywhere: a reading is *correct* where what was said is the truth. *Synthetic* is the positive class,
so sensitivity is the share of synthetic patches that were called synthetic. A matrix of readings is (R, C), a row a
reader and a column a case, with NaN where that reader did not read that case.
"""

MIN_READERS_AT_LARGE = 5
"""From here on, conclusions are on readers at large; with fewer, on these readers, for they say little about others."""
