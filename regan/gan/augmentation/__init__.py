"""What is done to images before the discriminator sees them: mirroring, and adaptive augmentation (ADA)."""
