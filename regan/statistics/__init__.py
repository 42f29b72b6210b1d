"""Paired tests and confidence intervals for classifiers on the same images. Arrays in, small results out."""
