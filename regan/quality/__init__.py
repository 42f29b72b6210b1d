"""Quality of synthetic images: features, distances to real images, coverage, memorised training images."""
