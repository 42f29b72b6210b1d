"""How close synthetic images are to real ones: features, distances between sets, coverage, memorised images."""
