"""From source files to image sets: sources, decoding, near duplicates, and the split."""
