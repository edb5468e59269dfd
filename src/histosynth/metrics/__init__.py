"""Measures of features and images; none of them runs a model, `extractors` aside."""
