"""How strong augmentation is: the more the discriminator knows the real images by heart, the stronger.

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
    """Entries of the training state: strength 0, and the sum of the signs since it was adjusted."""
    return {name: ops.zeros(()) for name in STATE}


def adjusted(config: GanConfig, state: dict[str, Any], real_sign: Any, is_due: Any) -> dict[str, Any]:
    """The entries after one step.

    Args:
        config: `ada_target`, `ada_interval` and `ada_kimg` count.
        state: Holds the entries before.
        real_sign: Mean sign of the scores of the step's real images; 1 = all are known to be real.
        is_due: Whether the strength is adjusted after this step.
    """
    signs = state[SIGNS] + real_sign
    change = config.ada_interval * config.batch_size / (1000 * config.ada_kimg)
    moved = state[STRENGTH] + ops.sign(signs / config.ada_interval - config.ada_target) * change
    return {
        STRENGTH: ops.where(is_due, ops.clip(moved, 0.0, 1.0), state[STRENGTH]),
        SIGNS: ops.where(is_due, ops.zeros_like(signs), signs),
    }
