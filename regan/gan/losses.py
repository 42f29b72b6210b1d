"""Losses of the two networks, and their two regularisers.

References:
    Goodfellow et al. 2014 (non-saturating logistic loss). https://arxiv.org/abs/1406.2661
    Mescheder et al. 2018, equation 9 (R1). https://arxiv.org/abs/1801.04406
    Karras et al. 2020, equation 4 (path length). https://arxiv.org/abs/1912.04958
"""

from collections.abc import Callable
from typing import Any

from keras import ops

from regan import backend


def generator_loss(synthetic_scores: Any) -> Any:
    """Non-saturating logistic loss of the generator, `()`: mean of softplus(-D(G(z))) over scores `(n,)`."""
    # softplus(-s) = -log sigmoid(s), without overflow at large scores.
    return ops.mean(ops.softplus(-synthetic_scores))


def discriminator_loss(synthetic_scores: Any, real_scores: Any) -> Any:
    """Logistic loss of the discriminator, `()`: mean softplus(D(G(z))) plus mean softplus(-D(x)), scores `(n,)`."""
    return ops.mean(ops.softplus(synthetic_scores)) + ops.mean(ops.softplus(-real_scores))


def squared_gradient_norms(score: Callable[[Any], Any], images: Any) -> Any:
    """Squared norm of the gradient of the score by the image, which R1 penalises.

    Args:
        score: Function from images `(n, h, w, c)` to scores `(n,)`.
        images: Real images `(n, h, w, c)`, -1 to 1.

    Returns:
        `(n,)`, one per image. R1 is `gamma / 2` times their mean.
    """
    # Scores of other images do not depend on an image, but for the minibatch deviation; the gradient of the sum is
    # therefore one gradient per image.
    gradient = backend.gradient(lambda x: ops.sum(score(x)))(images)
    return ops.sum(ops.square(gradient), axis=(1, 2, 3))


def path_lengths(synthesise: Callable[[Any], Any], styles: Any, direction: Any) -> Any:
    """Path lengths: how much an image changes along a random direction when its styles change.

    The product with the transposed Jacobian is computed as the gradient of a sum, so that the Jacobian never exists.

    Args:
        synthesise: Function from styles `(n, num_styles, d)` to images `(n, h, w, c)`.
        styles: `(n, num_styles, d)`.
        direction: Noise N(0, 1), `(n, h, w, c)`; scaled here by 1 / h, so that the length does not depend on the image
            size.

    Returns:
        `(n,)`, one per image: root of the mean over styles of the squared gradient norm.
    """
    height = direction.shape[1]
    gradient = backend.gradient(lambda w: ops.sum(synthesise(w) * direction) / height)(styles)
    return ops.sqrt(ops.mean(ops.sum(ops.square(gradient), axis=2), axis=1))
