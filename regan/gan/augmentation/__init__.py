"""Augmentation of the discriminator's images: flips, and adaptive discriminator augmentation (ADA)."""
