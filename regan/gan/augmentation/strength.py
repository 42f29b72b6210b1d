"""Strength of the augmentation: the more the discriminator overfits to the real images, the stronger.

References:
    Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", section 3.
    https://arxiv.org/abs/2006.06676
"""

from typing import Any

from keras import ops

from regan.gan.configuration import GanConfig

STRENGTH, SIGNS = "augmentation_strength", "augmentation_signs"
STATE = (STRENGTH, SIGNS)


def initial_strength() -> dict[str, Any]:
    """Initial entries of the training state, `()` each: strength 0, and the sum of signs since the last adjustment."""
    return {name: ops.zeros(()) for name in STATE}


def adjust_strength(config: GanConfig, state: dict[str, Any], real_sign: Any, is_due: Any) -> dict[str, Any]:
    """Update the entries after one step.

    Args:
        config: Gives `ada_target`, `ada_interval` and `ada_kimg`.
        state: Training state with the entries before.
        real_sign: Mean sign of the discriminator's scores on the step's real images, `()`, -1 to 1: the overfitting
            heuristic r_t of the paper. 1 = all are recognised as real.
        is_due: Whether the strength is adjusted after this step, bool `()`.

    Returns:
        The entries after the step, `()` each.
    """
    signs = state[SIGNS] + real_sign
    # A step of this size takes the strength from 0 to 1 in `ada_kimg`.
    change = config.ada_interval * config.batch_size / (1000 * config.ada_kimg)
    moved = state[STRENGTH] + ops.sign(signs / config.ada_interval - config.ada_target) * change
    return {
        STRENGTH: ops.where(is_due, ops.clip(moved, 0.0, 1.0), state[STRENGTH]),
        SIGNS: ops.where(is_due, ops.zeros_like(signs), signs),
    }
