"""What the settings will need: bytes on disk and GPU hours, by arithmetic and published figures.

None of the hours is measured: they distinguish days from hours, not one hour from two.
"""

from dataclasses import dataclass

from regan.gan.configuration import GanConfig, configure
from regan.runs.checks import Check
from regan.runs.settings import Plan

_FLOAT = 4
_CHECKPOINTS = 2  # the state and the one before it
_SYNTHETIC_SETS = 3  # as made, as kept, and for the control
# Bytes a pixel and channel of a stored PNG, at most: 44 kB for a synthetic grey image of 256 x 256, 35 kB for a real
# one (README, "Disk space").
_SYNTHETIC_BYTES = 44_000 / 256**2
_REAL_BYTES = 35_000 / 256**2

# Millions of parameters without the head, as Keras publishes them for keras.applications (InceptionResNetV2: ours,
# with its head). The size of another backbone is reported as unknown.
_BACKBONES = {
    "small": 0.7,
    "InceptionResNetV2": 55.9,
    "InceptionV3": 21.8,
    "Xception": 20.9,
    "ResNet50": 23.6,
    "ResNet50V2": 23.6,
    "MobileNet": 3.2,
    "MobileNetV2": 2.3,
    "DenseNet121": 7.0,
    "EfficientNetB0": 4.0,
}

# Published seconds per kimg of config-e at 256 x 256 on one V100: 21.6 in NVIDIA's ADA release (half precision), and
# 112 for config-f in its first release (float32), whose step costs 1208 / 399 as much as that of config-e.
_V100 = (21.6, 112 * 399 / 1208)
# The ceiling of one H200 for the same: 1.0 s (README, "Training time"). Others from it by the data sheets' dense
# bfloat16 (T4: float16) TFLOP/s and memory TB/s; what is reached in practice may take four times the ceiling.
_H200 = 1.0
_DATA_SHEETS = {
    "H200": (989, 4.8),
    "H100": (989, 3.35),
    "A100": (312, 2.0),
    "L40S": (362, 0.86),
    "A10": (125, 0.6),
    "L4": (121, 0.3),
    "T4": (65, 0.32),
}
_OF_CEILING = 4.0


@dataclass(frozen=True)
class Bytes:
    """Bytes that a run writes.

    Attributes:
        snapshots: All snapshots that are kept.
        checkpoints: Checkpoints of GAN training.
        images: Prepared and synthetic image sets.
        classifiers: Weights of teacher, students and controls.
    """

    snapshots: int
    checkpoints: int
    images: int
    classifiers: int

    @property
    def total(self) -> int:
        """Bytes of the whole run."""
        return self.snapshots + self.checkpoints + self.images + self.classifiers

    @property
    def largest_step(self) -> int:
        """Bytes on the disk of the most demanding step: training, or a step that reads all images."""
        return max(self.snapshots + self.checkpoints, self.classifiers) + self.images


def generator_parameters(config: GanConfig) -> int:
    """Trainable parameters of mapping and synthesis network."""
    latent, style = config.latent_size, config.style_size
    embedding = config.num_labels * latent + latent if config.num_labels else 0
    width = 2 * latent if config.num_labels else latent
    mapping = embedding + _chain(width, style, config.mapping_layers)
    total, maps = mapping + 16 * config.maps(4), config.maps(4)
    for size in config.sizes:
        for _ in range(1 if size == 4 else 2):
            filters = config.maps(size)
            total += 9 * maps * filters + filters + 1 + (style + 1) * maps
            maps = filters
        total += maps * config.channels + config.channels + (style + 1) * maps
    return total


def discriminator_parameters(config: GanConfig) -> int:
    """Trainable parameters of the discriminator."""
    top = config.maps(4)
    total = config.channels * config.maps(config.size) + config.maps(config.size)
    for size in config.sizes[1:]:
        maps, filters = config.maps(size), config.maps(size // 2)
        total += 9 * maps * maps + maps + 9 * maps * filters + filters + maps * filters
    total += 9 * (top + 1) * top + top + 16 * top * top + top
    total += (top + 1) * (top if config.num_labels else 1)
    if config.num_labels:
        total += (config.num_labels + 1) * top + _chain(top, top, config.mapping_layers)
    return total


def relative_cost(config: GanConfig) -> float:
    """Arithmetic of a training step per real image, as a multiple of that of config-e at 256 x 256."""
    return _convolutions(config) / _convolutions(configure("config-e", size=256, channels=1, labels=("one",)))


def bytes_needed(plan: Plan, num_real: int) -> Bytes:
    """Bytes that a run with these settings writes.

    Args:
        plan: The settings.
        num_real: Number of real images.
    """
    generator, discriminator = generator_parameters(plan.config), discriminator_parameters(plan.config)
    # Both networks, the average of the generator, and what the optimiser keeps for each weight.
    state = _FLOAT * (3 * generator + 2 * discriminator)
    pixels = plan.config.size**2 * plan.config.channels
    synthetic = plan.rounds * _SYNTHETIC_SETS * 2 * plan.seeds * pixels * _SYNTHETIC_BYTES
    classifiers = 1 + 2 * plan.rounds  # the teacher, and a student and a control of each round
    parameters = _BACKBONES.get(plan.backbone, _BACKBONES["InceptionResNetV2"]) * 1e6
    return Bytes(
        snapshots=plan.networks * plan.snapshots * _FLOAT * generator,
        checkpoints=plan.networks * _CHECKPOINTS * state,
        images=int(num_real * pixels * _REAL_BYTES + synthetic),
        classifiers=int(classifiers * _FLOAT * parameters),
    )


def gpu_hours(plan: Plan, gpu: str) -> tuple[float, float, str] | None:
    """Hours of one GPU that GAN training takes.

    Args:
        plan: The settings.
        gpu: Name that `nvidia-smi` reports.

    Returns:
        Lower and upper bound, and the source of the figures; None for a GPU without figures.
    """
    found = seconds_per_kimg(gpu)
    if found is None:
        return None
    kimg = plan.networks * plan.config.kimg * relative_cost(plan.config) / 3600
    return found[0] * kimg, found[1] * kimg, found[2]


def seconds_per_kimg(gpu: str) -> tuple[float, float, str] | None:
    """Seconds per kimg of config-e at 256 x 256 on one GPU: lower, upper, source; None for an unknown GPU."""
    words = gpu.upper().replace("-", " ").split()
    if "V100" in words:
        return (*_V100, "published by NVIDIA for its own code")
    for name, (rate, bandwidth) in _DATA_SHEETS.items():
        if name in words:
            ratios = [peak / own for peak, own in zip(_DATA_SHEETS["H200"], (rate, bandwidth), strict=True)]
            return _H200 * min(ratios), _H200 * max(ratios) * _OF_CEILING, "computed from data sheets"
    return None


def cost_checks(plan: Plan, num_real: int | None, gpu: str | None) -> tuple[list[Check], Bytes]:
    """What the settings need, for the table of checks.

    Args:
        plan: The settings.
        num_real: Number of real images; None where they could not be counted.
        gpu: Name of the GPU; empty where none is used, None where one is needed and was not found.
    """
    needed = bytes_needed(plan, num_real or 0)
    parts = [(name, getattr(needed, name)) for name in ("snapshots", "checkpoints", "images", "classifiers")]
    is_known = plan.backbone in _BACKBONES
    notes = "" if is_known else f"; the size of {plan.backbone} is unknown, assumed as InceptionResNetV2's"
    notes += "; real images not counted" if num_real is None else ""
    detail = ", ".join(f"{name} {rounded_bytes(value)}" for name, value in parts)
    found = f"about {rounded_bytes(needed.total)} ({detail}{notes})"
    return [Check("bytes of the run", found), Check("GPU hours of GAN training", _hours(plan, gpu))], needed


def rounded_bytes(value: float) -> str:
    """Such as `1.2 GB`: these estimates are good to two digits at most."""
    unit, size = next((u, s) for u, s in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("bytes", 1)) if value >= s or s == 1)
    return f"{_two_digits(value / size)} {unit}"


def _two_digits(value: float) -> str:
    return f"{float(f'{value:.2g}'):,g}"


def _hours(plan: Plan, gpu: str | None) -> str:
    if not gpu:
        none = "none: without a GPU the preset demo takes minutes, and config-e months"
        return none if gpu == "" else "unknown: no GPU was found"
    hours = gpu_hours(plan, gpu)
    if hours is None:
        return f"unknown: no figures for {gpu}"
    low, high, source = hours
    return f"{_two_digits(low)} to {_two_digits(high)} on one {gpu} ({source}; not measured with this code)"


def _chain(width: int, units: int, layers: int) -> int:
    return sum((width if layer == 0 else units) * units + units for layer in range(layers))


def _convolutions(config: GanConfig) -> float:
    """Multiplications of the convolutions of both networks, forward, for one image."""
    total, maps = 0.0, config.maps(4)
    for size in config.sizes:
        filters, below = config.maps(size), config.maps(max(size // 2, 4))
        if size > 4:
            # A transposed convolution works on the small side; so does the halving one of the discriminator.
            total += 9 * size**2 * (maps * filters / 4 + filters**2)
            total += 9 * size**2 * (filters**2 + filters * below / 4) + size**2 * filters * below / 4
        else:
            total += 9 * size**2 * 2 * filters**2 + 16 * filters**2
        total += size**2 * filters * config.channels * 2
        maps = filters
    return total
