"""Generators of NVIDIA's official releases, read without PyTorch and without running what their files carry.

Nothing here was made from NVIDIA's code: the reader follows the format of pickles and the description of theirs.
"""

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regan.gan.configuration import GanConfig
    from regan.nvidia.official import Official

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
        path: The generator.
        size: Height and width of its images, pixels.
        channels: 1 (grey) or 3 (RGB).
        labels: Classes that it makes.
        release: Release that the file came from, by its form.
        licence: Terms that the weights carry.
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
    """Read a generator of an official NVIDIA StyleGAN2 pickle, to start training from or to make images with.

    The discriminator beside it, if it is one of ours, is kept for training to start from too.
    Needs no PyTorch, and executes nothing that the file carries: a pickle that holds other than arrays and listed names
    is refused. The weights keep NVIDIA's non-commercial terms.

    Args:
        file: Pickle of stylegan2-ada-pytorch, or of the TensorFlow 1 releases (written from their description: no such
            file was at hand to test).
        output: Generator to write.
        network: `G_ema`, the averaged generator, or `G`, the newest weights.
        classes: Negative and positive class, such as `benign,malignant`; `class_0,class_1` where empty.
        label: Which of the two a network without labels makes; the first one where empty.

    Returns:
        Where the generator lies, and what it makes.

    Raises:
        ValueError: The file is no such pickle or is damaged, or our networks cannot express its network.
        FileExistsError: `output` holds something already.
        OSError: The file cannot be read.
    """
    started = time.monotonic()
    pair = _pair(classes, label)
    if network not in ("G_ema", "G"):
        raise ValueError(f"`network` must be 'G_ema' or 'G'. Received network={network!r}.")

    from regan.artifacts.output_folder import require_free
    from regan.common.files import file_hash
    from regan.nvidia.conversion import (
        generator_config,
        generator_shapes,
        generator_weights,
        require_finite,
        require_fit,
    )
    from regan.nvidia.official import read_pair

    require_free(Path(output))
    official, judge = read_pair(file, network)
    labels = pair if _is_conditional(official) else (label or pair[0],)
    config = generator_config(official, labels)
    weights = generator_weights(official)
    require_fit(weights, generator_shapes(config))
    require_finite(weights)
    discriminator, left_out = _discriminator(judge, config)
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
        raise ValueError(
            "`classes` must be two names, the negative class first, such as 'benign,malignant'. "
            f"Received classes={classes!r}."
        )
    if label and label not in pair:
        raise ValueError(f"`label` must be one of the classes {', '.join(pair)}. Received label={label!r}.")
    return pair


def _is_conditional(official: "Official") -> bool:
    return any(name.startswith(("mapping.embed.", "LabelEmbed/", "LabelConcat/")) for name in official.arrays)


def _notes(official: "Official") -> list[str]:
    from regan.nvidia.conversion import clamp

    bound = clamp(official)
    if not bound:
        return []
    return [
        f"The official network bounds activations at {bound:g}, for half precision. Ours does not: images with larger "
        "activations differ."
    ]


def _discriminator(judge: "Official | None", config: "GanConfig") -> tuple[dict[str, Any] | None, list[str]]:
    """Weights of the discriminator beside the generator, if it is one of ours, or why it is left out."""
    from regan.nvidia.conversion import (
        discriminator_shapes,
        discriminator_weights,
        require_finite,
        require_fit,
        require_our_rate,
    )

    if judge is None:
        return None, []
    try:
        require_our_rate(judge, config)
        weights = discriminator_weights(judge)
        require_fit(weights, discriminator_shapes(config))
    except ValueError as error:
        return None, [f"The file's discriminator is left out; training starts with a new one. {error}"]
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
    from regan.artifacts.output_folder import writing
    from regan.gan.generator_folder import write_generator

    with writing(output) as folder:
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
