"""From foreign pictures to image sets: sources, decoding, near duplicates, and the split."""
