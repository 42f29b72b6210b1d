"""What is done to real images before the discriminator sees them."""

import numpy as np


def mirror(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Images `(n, height, width, channels)`, each flipped left to right with probability one half."""
    flipped = random.random(len(images)) < 0.5
    return np.where(flipped[:, None, None, None], images[:, :, ::-1], images)
