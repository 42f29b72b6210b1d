"""Import of generators from NVIDIA's official releases, without PyTorch and without running code from their files.

Nothing here is derived from NVIDIA's code: the reader follows the pickle format and a description of the files.
"""

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regan.common.errors import SettingError

if TYPE_CHECKING:
    from regan.gan.configuration import GanConfig
    from regan.nvidia.official import OfficialNetwork

LICENCE = (
    "Weights of an official StyleGAN2 release of NVIDIA, or trained with its code: for non-commercial research and "
    "evaluation only. The terms of the release that the file came from bind these weights, what is trained from them, "
    "and what is made with them; read them there."
)
_CLASSES = ("class_0", "class_1")
_LOG = logging.getLogger("regan")


@dataclass(frozen=True)
class ImportedGenerator:
    """Result of `import_nvidia`.

    Attributes:
        path: Folder of the generator.
        size: Height and width of its images, pixels.
        channels: 1 (grey) or 3 (RGB).
        labels: Classes of its images.
        release: Release that the file came from, by its format.
        licence: Licence of the weights.
    """

    path: Path
    size: int
    channels: int
    labels: tuple[str, ...]
    release: str
    licence: str


def import_nvidia(
    file: str | Path,
    output: str | Path,
    *,
    network: str = "G_ema",
    classes: str = "",
    label: str = "",
) -> ImportedGenerator:
    """Import a generator from an official NVIDIA StyleGAN2 pickle, as initial weights or to generate images.

    The discriminator in the file is imported too if its architecture is supported. PyTorch is not needed, and nothing
    in the file is executed: a pickle with anything but arrays and listed names is refused. The weights keep NVIDIA's
    non-commercial licence.

    Args:
        file: Pickle of stylegan2-ada-pytorch, or of the TensorFlow 1 releases (implemented from their description; no
            such file was available for tests).
        output: Generator folder to write.
        network: `G_ema`, the exponential moving average of the generator, or `G`, its latest weights.
        classes: Negative and positive class, such as `benign,malignant`; empty = `class_0,class_1`.
        label: Class of the images of a network without labels; empty = the first one.

    Returns:
        Folder of the generator, and a description of it.

    Raises:
        SettingError: `network`, `classes` or `label` has a value that is not allowed.
        UnsafeFileError: The file is not such a pickle, is corrupt, or contains anything but arrays and listed names.
        WrongArtifactError: The architecture of the network is not supported.
        CorruptFileError: The weights are not finite.
        FileExistsError: `output` is not empty.
        OSError: The file cannot be read.
    """
    started = time.monotonic()
    pair = _pair(classes, label)
    if network not in ("G_ema", "G"):
        raise SettingError(f"`network` must be 'G_ema' or 'G'. Received network={network!r}.")

    from regan.artifacts.output_folder import require_empty_output
    from regan.common.files import file_hash
    from regan.nvidia.conversion import (
        generator_config,
        generator_shapes,
        generator_weights,
        require_finite,
        require_fit,
    )
    from regan.nvidia.official import read_pair

    require_empty_output(Path(output))
    official, official_discriminator = read_pair(file, network)
    labels = pair if _is_conditional(official) else (label or pair[0],)
    config = generator_config(official, labels)
    weights = generator_weights(official)
    require_fit(weights, generator_shapes(config))
    require_finite(weights)
    discriminator, left_out = _convert_discriminator(official_discriminator, config)
    origin = {
        "licence": LICENCE,
        "origin": {"sha256": file_hash(Path(file)), "release": official.release, "network": network},
        "notes": _notes(official) + left_out,
    }
    _write(Path(output), config, weights, discriminator, pair, origin, started)
    return ImportedGenerator(Path(output), config.size, config.channels, labels, official.release, LICENCE)


def _pair(classes: str, label: str) -> tuple[str, ...]:
    pair = tuple(name.strip() for name in classes.split(",")) if classes else _CLASSES
    if len(pair) != 2 or not all(pair) or pair[0] == pair[1]:
        raise SettingError(
            "`classes` must be two names, the negative class first, such as 'benign,malignant'. "
            f"Received classes={classes!r}."
        )
    if label and label not in pair:
        raise SettingError(f"`label` must be one of the classes {', '.join(pair)}. Received label={label!r}.")
    return pair


def _is_conditional(official: "OfficialNetwork") -> bool:
    return any(name.startswith(("mapping.embed.", "LabelEmbed/", "LabelConcat/")) for name in official.arrays)


def _notes(official: "OfficialNetwork") -> list[str]:
    from regan.nvidia.conversion import activation_clamp

    bound = activation_clamp(official)
    if not bound:
        return []
    return [
        f"The official network clamps activations at {bound:g}, for half precision. RaGAN does not: images with larger "
        "activations differ."
    ]


def _convert_discriminator(
    official: "OfficialNetwork | None", config: "GanConfig"
) -> tuple[dict[str, Any] | None, list[str]]:
    """Convert the discriminator of the file; if it is not supported, return None and a note with the reason."""
    from regan.nvidia.conversion import (
        discriminator_shapes,
        discriminator_weights,
        require_finite,
        require_fit,
        require_our_rate,
    )

    if official is None:
        return None, []
    try:
        require_our_rate(official, config)
        weights = discriminator_weights(official)
        require_fit(weights, discriminator_shapes(config))
    except ValueError as error:
        # The generator is useful without it, so this is no reason to refuse the file.
        return None, [f"The discriminator in the file is not imported; training starts with a new one. {error}"]
    require_finite(weights)
    return weights, []


def _write(
    output: Path,
    config: "GanConfig",
    weights: dict[str, Any],
    discriminator: dict[str, Any] | None,
    classes: tuple[str, ...],
    origin: dict[str, Any],
    started: float,
) -> None:
    from regan.artifacts.history import write_step
    from regan.artifacts.output_folder import atomic_folder
    from regan.gan.generator_folder import write_generator

    with atomic_folder(output) as folder:
        write_generator(
            folder,
            0.0,
            config,
            weights,
            classes=classes,
            training_index=(),
            origin=origin,
            discriminator=discriminator,
        )
        settings = {**config.to_dict(), **origin}
        write_step(folder, "import_nvidia", {}, settings=settings, seconds=time.monotonic() - started)
    for note in origin["notes"]:
        _LOG.warning(note)
    _LOG.info("%s", origin["licence"])
