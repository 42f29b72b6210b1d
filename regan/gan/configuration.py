"""Configuration of a training run, and the presets that it is made from.

References:
    Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN". https://arxiv.org/abs/1912.04958
    Karras et al. 2020b, "Training Generative Adversarial Networks with Limited Data" (ADA).
    https://arxiv.org/abs/2006.06676
"""

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from regan.common.errors import SettingError


@dataclass(frozen=True, kw_only=True)
class GanConfig:
    """All settings that decide what a run computes, validated on construction.

    Attributes:
        size: Height and width of the images in pixels, a power of two from 32 to 1024.
        channels: 1 for grey images, 3 for RGB.
        labels: The classes of the images; two make a class-conditional network, one an unconditional one.
        base_maps: Feature maps at resolution R are `2 * base_maps / R`, at most `max_maps`.
        max_maps: Largest number of feature maps.
        latent_size: Dimensions of the latent z.
        style_size: Dimensions of the style w.
        mapping_layers: Dense layers of the mapping network (and of the discriminator's label embedding).
        mapping_rate: Learning rate of those layers relative to the other layers.
        batch_size: Images per step (minibatch size).
        learning_rate: Learning rate of Adam, before the correction for lazy regularisation.
        beta2: Decay of Adam's second moment, before that correction. Adam's beta1 is 0.
        r1_gamma: Weight of the R1 penalty: the loss is `r1_gamma / 2` times the squared gradient norm.
        r1_interval: Steps between two R1 penalties.
        path_weight: Weight of path-length regularisation; 0 disables it.
        path_interval: Steps between two path-length regularisations.
        path_decay: Weight of one step in the running mean of path lengths.
        style_mixing: Probability that a batch mixes the styles of two latents.
        average_kimg: Half-life of the exponential moving average of the generator's weights, thousands of images.
        average_ramp: Largest half-life as a share of the images seen so far; 0 disables the ramp.
        style_decay: Decay of the running mean of w, the centre of truncation.
        mirror: Whether real images are flipped left to right at random.
        ada: Whether all images are augmented before the discriminator, with an adaptive strength (Karras et al. 2020b).
        ada_target: Target of the mean sign of the discriminator's scores on real images.
        ada_interval: Steps between two adjustments of the strength.
        ada_kimg: Thousands of images in which the strength can go from 0 to 1.
        precision: `float32`, or `bfloat16`: convolutions at the `num_bfloat16` largest image sizes, but never at 4 to
            16 pixels, are computed in bfloat16; everything else, also images, losses and weights, stays float32.
        num_bfloat16: Number of image sizes inside the networks that are computed in bfloat16.
        kimg: Length of the run in thousands of real images.
        snapshot_kimg: Thousands of images between two snapshots of the averaged generator.
        log_kimg: Thousands of images between two lines of the log.
        seed: Seed of initial weights, latents, noise and the order of the images.
    """

    size: int
    channels: int
    labels: tuple[str, ...]
    base_maps: int
    max_maps: int
    latent_size: int
    style_size: int
    mapping_layers: int
    mapping_rate: float
    batch_size: int
    learning_rate: float
    beta2: float
    r1_gamma: float
    r1_interval: int
    path_weight: float
    path_interval: int
    path_decay: float
    style_mixing: float
    average_kimg: float
    average_ramp: float
    style_decay: float
    mirror: bool
    kimg: float
    snapshot_kimg: float
    log_kimg: float
    seed: int
    # These have defaults because `model.json` files written before ADA and bfloat16 existed lack them.
    ada: bool = False
    ada_target: float = 0.6
    ada_interval: int = 4
    ada_kimg: float = 500.0
    precision: Literal["float32", "bfloat16"] = "float32"
    num_bfloat16: int = 4

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            raise SettingError(
                "`size` must be a power of two between 32 and 1024, because StyleGAN2 grows from 4 x 4 by doubling. "
                f"Received size={self.size}. Prepare the images again with `size=256`."
            )
        if self.channels not in (1, 3):
            raise SettingError(f"`channels` must be 1 (grey) or 3 (RGB). Received channels={self.channels}.")
        if len(self.labels) not in (1, 2):
            raise SettingError(f"`labels` must name one class or two. Received labels={self.labels}.")
        if self.precision not in PRECISIONS:
            raise SettingError(f"`precision` must be 'float32' or 'bfloat16'. Received precision={self.precision!r}.")
        if self.mapping_layers < 1:
            raise SettingError(
                "`mapping_layers` must be at least 1 (or 0 in `configure`, for the value of the preset). "
                f"Received mapping_layers={self.mapping_layers}."
            )
        if not self.r1_gamma >= 0:
            raise SettingError(f"`r1_gamma` must be 0 or more. Received r1_gamma={self.r1_gamma}.")
        if self.batch_size < 4 or self.batch_size % 4:
            raise SettingError(
                "`batch_size` must be a multiple of 4, because the minibatch standard deviation has groups of four "
                f"images. Received batch_size={self.batch_size}."
            )
        for name in ("kimg", "snapshot_kimg"):
            # The names of snapshots have one decimal of a thousand images.
            tenths = getattr(self, name) * 10
            if not tenths > 0 or not math.isclose(tenths, round(tenths)):
                raise SettingError(
                    f"`{name}` must be a multiple of 0.1 greater than 0. Received {name}={getattr(self, name)}."
                )
        for name in ("log_kimg", "learning_rate", "average_kimg", "ada_interval", "ada_kimg"):
            if not getattr(self, name) > 0:
                raise SettingError(f"`{name}` must be greater than 0. Received {name}={getattr(self, name)}.")

    @property
    def num_labels(self) -> int:
        """Width of the one-hot label; 0 for an unconditional network."""
        return len(self.labels) if len(self.labels) > 1 else 0

    @property
    def sizes(self) -> tuple[int, ...]:
        """Image sizes inside the networks, 4 to `size`."""
        return tuple(2**power for power in range(2, self.size.bit_length()))

    @property
    def noise_sizes(self) -> tuple[int, ...]:
        """Image size of each noise input, coarse to fine."""
        return tuple(size for size in self.sizes for _ in range(1 if size == 4 else 2))

    @property
    def num_styles(self) -> int:
        """Number of styles of one image: one for each convolution, and one for the last output layer.

        The other output layers share the style of the convolution after them.
        """
        return 2 * len(self.sizes)

    def maps(self, size: int) -> int:
        """Feature maps at this image size."""
        return min(2 * self.base_maps // size, self.max_maps)

    def compute(self, size: int) -> str:
        """Dtype of the convolutions at this image size; empty = the default of the framework, float32."""
        is_large = size > _LARGEST_FLOAT32 and size in self.sizes[-self.num_bfloat16 :]
        return "bfloat16" if self.precision == "bfloat16" and self.num_bfloat16 and is_large else ""

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain JSON values."""
        return {**asdict(self), "labels": list(self.labels)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "GanConfig":
        """Make the configuration from the values of `to_dict`."""
        return cls(**{**values, "labels": tuple(values["labels"])})

    def hash(self) -> str:
        """SHA-256 of all settings that a resumed run must share with the earlier run; its length `kimg` may differ."""
        values = {name: value for name, value in self.to_dict().items() if name != "kimg"}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


_LARGEST_FLOAT32 = 16  # pixels; coarse sizes decide what an image shows, and cost next to nothing
SIZES = (32, 64, 128, 256, 512, 1024)

# Karras et al. 2020, section 2 and appendix B; Karras et al. 2019 for the mapping network and style mixing.
_PAPER = {
    "max_maps": 512,
    "latent_size": 512,
    "style_size": 512,
    "mapping_layers": 8,
    "mapping_rate": 0.01,
    "batch_size": 32,  # at every resolution
    "learning_rate": 0.002,
    "beta2": 0.99,
    "r1_interval": 16,  # lazy regularisation: a penalty that changes slowly need not be computed in each step
    "path_weight": 2.0,
    "path_interval": 4,
    "path_decay": 0.01,
    "style_mixing": 0.9,
    "average_kimg": 10.0,
    "average_ramp": 0.0,
    "style_decay": 0.995,
    "mirror": True,
    "kimg": 25_000.0,
    "snapshot_kimg": 80.0,  # ten ticks of 8 kimg at 256 x 256, the cadence of the official release
    "log_kimg": 8.0,
}

# `r1_gamma` is the value at 1024 x 1024: the penalty grows with the number of pixels, so `configure` scales it by
# (size / 1024)^2. The papers used 100 (config-e) and 10 (config-f) at 1024; demo follows Karras et al. 2020b,
# 0.0002 * size^2 / batch_size. So do its learning rate, two mapping layers and the ramp of its moving average.
PRESETS: dict[str, dict[str, Any]] = {
    "demo": _PAPER
    | {
        "base_maps": 512,
        "max_maps": 64,
        "latent_size": 64,
        "style_size": 64,
        "mapping_layers": 2,
        "batch_size": 16,
        "learning_rate": 0.0025,
        "r1_gamma": 13.1,
        "average_kimg": 1.0,
        "average_ramp": 0.05,
        "ada_kimg": 12.0,  # half the run, instead of the paper's 500 kimg, which would be 20 times the run
        "kimg": 24.0,
        "snapshot_kimg": 4.0,
        "log_kimg": 0.5,
    },
    "config-e": _PAPER | {"base_maps": 8192, "r1_gamma": 100.0},
    "config-f": _PAPER | {"base_maps": 16384, "r1_gamma": 10.0},
}

PRECISIONS = ("float32", "bfloat16")
Noise = Literal["random", "constant", "none"]  # where the noise inputs of an image come from
NOISES: tuple[Noise, ...] = get_args(Noise)
AUGMENTATIONS: dict[str, dict[str, bool]] = {
    "none": {"mirror": False, "ada": False},
    "mirror": {"mirror": True, "ada": False},
    "ada": {"mirror": True, "ada": True},
}


def augmentation(augment: str) -> dict[str, bool]:
    """Return the fields of `GanConfig` for `none`, `mirror` (flips of real images) or `ada` (adaptive, with flips).

    Raises:
        SettingError: `augment` has another value.
    """
    if augment not in AUGMENTATIONS:
        raise SettingError(f"`augment` must be one of {', '.join(AUGMENTATIONS)}. Received augment={augment!r}.")
    return AUGMENTATIONS[augment]


def configure(
    preset: str,
    *,
    size: int,
    channels: int,
    labels: tuple[str, ...],
    seed: int = 0,
    kimg: float = 0.0,
    augment: str = "",
    mapping_layers: int = 0,
    **changes: Any,
) -> GanConfig:
    """Make the configuration of a preset for images of one size.

    Args:
        preset: A row of `PRESETS`.
        size: Height and width in pixels.
        channels: 1 or 3.
        labels: One class or two.
        seed: Seed of all random numbers.
        kimg: Length of the run in thousands of images; 0 = as in the preset.
        augment: See `augmentation`; empty = as in the preset.
        mapping_layers: Dense layers of the mapping network; 0 = as in the preset.
        changes: Other fields of `GanConfig` that differ from the preset.

    Raises:
        SettingError: The preset or a field does not exist, or a value is out of range.
    """
    if preset not in PRESETS:
        raise SettingError(f"`preset` must be one of {', '.join(PRESETS)}. Received preset={preset!r}.")
    row = dict(PRESETS[preset])
    unknown = sorted(set(changes) - set(GanConfig.__dataclass_fields__))
    if unknown:
        raise SettingError(f"`GanConfig` has no field {', '.join(unknown)}. See its docstring for the fields.")
    row["r1_gamma"] *= (size / 1024) ** 2
    if augment:
        row |= augmentation(augment)
    if kimg:
        row["kimg"] = kimg
    if mapping_layers:
        row["mapping_layers"] = mapping_layers
    return GanConfig(**{**row, "size": size, "channels": channels, "labels": labels, "seed": seed, **changes})
