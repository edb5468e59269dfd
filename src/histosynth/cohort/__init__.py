"""Tables of a cohort: labels, genotypes, splits, folds and microns per pixel."""
