"""Random numbers of the augmentation, drawn with NumPy outside the compiled step."""

import numpy as np

# In the order in which they are applied (Karras et al. 2020b, appendix B): geometry, then colour.
TRANSFORMS = (
    "flip",
    "turn",
    "shift",
    "zoom",
    "rotation_before",
    "stretch",
    "rotation_after",
    "slide",
    "brightness",
    "contrast",
    "luma_flip",
    "hue",
    "saturation",
)
# Strengths of the paper.
_LARGEST_SHIFT = 0.125  # share of the image's width
_SLIDE_DEVIATION = 0.125
_ZOOM_DEVIATION, _CONTRAST_DEVIATION, _SATURATION_DEVIATION = 0.2, 0.5, 1.0  # of the logarithm to base 2
_BRIGHTNESS_DEVIATION = 0.2  # of values from -1 to 1


def mirror(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Flip each of images `(n, height, width, channels)` left to right with probability one half."""
    flipped = random.random(len(images)) < 0.5
    return np.where(flipped[:, None, None, None], images[:, :, ::-1], images)


def draw_transforms(random: np.random.Generator, num: int, size: int) -> dict[str, np.ndarray]:
    """Draw the parameters of every transform for every image, whether it is applied or not.

    Args:
        random: Source of random numbers.
        num: Number of images.
        size: Their height and width, pixels.

    Returns:
        `chance` float32 `(num, len(TRANSFORMS))`, 0-1: a transform is applied where it is below its probability. The
        others, float32: `flip` and `luma_flip` `(num,)` 1 or -1; `turn` `(num, 2)`, cosine and sine of a quarter turn;
        `shift` (whole pixels) and `slide` (pixels) `(num, 2)`, down and right; `zoom`, `stretch`, `contrast` and
        `saturation` `(num,)`, factors; `rotation_before`, `rotation_after` and `hue` `(num,)`, radians; `brightness`
        `(num,)`, added to values from -1 to 1.

    References:
        Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", appendix B.
        https://arxiv.org/abs/2006.06676
    """
    quarter = random.integers(0, 4, num)
    drawn = {
        "chance": random.random((num, len(TRANSFORMS))),
        "flip": 1 - 2 * random.integers(0, 2, num),
        "turn": np.stack([np.array([1, 0, -1, 0])[quarter], np.array([0, 1, 0, -1])[quarter]], axis=1),
        "shift": np.rint(random.uniform(-_LARGEST_SHIFT, _LARGEST_SHIFT, (num, 2)) * size),
        "zoom": np.exp2(_ZOOM_DEVIATION * random.standard_normal(num)),
        "rotation_before": random.uniform(-np.pi, np.pi, num),
        "stretch": np.exp2(_ZOOM_DEVIATION * random.standard_normal(num)),
        "rotation_after": random.uniform(-np.pi, np.pi, num),
        "slide": _SLIDE_DEVIATION * size * random.standard_normal((num, 2)),
        "brightness": _BRIGHTNESS_DEVIATION * random.standard_normal(num),
        "contrast": np.exp2(_CONTRAST_DEVIATION * random.standard_normal(num)),
        "luma_flip": 1 - 2 * random.integers(0, 2, num),
        "hue": random.uniform(-np.pi, np.pi, num),
        "saturation": np.exp2(_SATURATION_DEVIATION * random.standard_normal(num)),
    }
    # A chance just under 1 would be rounded to 1 in float32, and then not be below a probability of 1.
    below_one = np.nextafter(np.float32(1), np.float32(0))
    values = {name: np.asarray(value, np.float32) for name, value in drawn.items()}
    return values | {"chance": np.minimum(values["chance"], below_one)}
