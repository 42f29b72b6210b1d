"""Weights of another generator to start training from, and a copy of them among the state of the training.

The copy makes an interrupted training go on alike whatever lies at the address by then, and carries the images that
trained the first generator into the training index, so that none of them can end in a test.
"""

import logging
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from regan.artifacts.model import read_model, read_training_index, read_weights, weights_hash
from regan.artifacts.output_folder import writing
from regan.gan.generator_folder import STYLE_MEAN, read_discriminator
from regan.storage import fetch_latest

START = "start"  # folder in the work folder
_LOG = logging.getLogger("regan")
_FROM_IMAGE = "discriminator/from_image/kernel"
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue, ITU-R BT.601


@dataclass(frozen=True)
class Start:
    """A generator that training starts from, with its discriminator where that was kept.

    Attributes:
        weights: Its averaged weights by path.
        hash: SHA-256 of its weight file.
        discriminator: Weights of the discriminator by path; None = training starts with a new one.
        discriminator_hash: SHA-256 of their file; empty = none.
        channels: Of its images.
        licence: Terms that its weights carry; empty = our own.
        training_index: (pixel hash, group) of the images that trained it.
    """

    weights: dict[str, np.ndarray]
    hash: str
    discriminator: dict[str, np.ndarray] | None
    discriminator_hash: str
    channels: int
    licence: str
    training_index: set[tuple[str, str]]

    def about(self) -> dict[str, str]:
        """What the models that come of it say: its hashes, and its terms if they are not ours."""
        told = {"start": self.hash, "start_discriminator": self.discriminator_hash, "licence": self.licence}
        return {name: value for name, value in told.items() if value}


def bring_start(start_uri: str, label: str, work: Path, *, begun: bool) -> Start | None:
    """Copy the generator to start from into the work folder, unless it is there or training has begun without one.

    Args:
        start_uri: Folder of a generator, or folder or address that keeps one below `label`; empty = none.
        label: Name of the network: a class, or `all`.
        work: Work folder of the training.
        begun: Whether training has a checkpoint already.

    Returns:
        The generator; None = training starts from random weights.

    Raises:
        ValueError: What lies there is no generator, or is damaged.
        OSError: The address cannot be read.
    """
    place = work / START
    if start_uri and not begun and not place.exists():
        with tempfile.TemporaryDirectory(dir=work, prefix=f"{START}-") as scratch:
            found = _found(start_uri, label, Path(scratch))
            if found is None:
                _LOG.warning("Nothing lies at %s yet: training starts from random weights.", start_uri)
                return None
            read_discriminator(found, read_model(found, "generator"))
            with writing(place) as folder:
                shutil.copytree(found, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("history"))
    if not place.exists():
        return None
    model = read_model(place, "generator")
    start = Start(
        read_weights(place),
        weights_hash(place),
        read_discriminator(place, model),
        model.get("discriminator", ""),
        model["channels"],
        model.get("licence", ""),
        read_training_index(place),
    )
    _LOG.info(
        "Training starts from the generator %s of %s kimg and %s.",
        start.hash[:12],
        f"{model['kimg']:g}",
        f"the discriminator {start.discriminator_hash[:12]}" if start.discriminator else "a new discriminator",
    )
    return start


def fitted(start: Start, expected: Mapping[str, Any], channels: int) -> dict[str, np.ndarray]:
    """The weights for a network that may have another number of channels.

    Grey from RGB takes the luma of the three colours, RGB from grey gives each colour the same.

    Args:
        start: Generator to start from.
        expected: Weights of the new network by path.
        channels: Of its images, 1 or 3.

    Returns:
        Weights by path, those of `expected` in number and shape.

    Raises:
        ValueError: The networks differ in more than their channels.
    """
    weights = {path: value for path, value in start.weights.items() if _is_trained(path)}
    if start.channels != channels:
        weights |= {path: _recoloured(value, channels) for path, value in weights.items() if _makes_colours(path)}
    _require_same_shapes(weights, expected)
    return {path: weights[path] for path in expected}


def fitted_discriminator(
    discriminator: Mapping[str, np.ndarray], expected: Mapping[str, Any], channels: int
) -> dict[str, np.ndarray]:
    """The discriminator's weights for a network that may have another number of channels.

    Grey from RGB scores a grey image as it was scored in three equal colours. RGB from grey scores the mean of the
    colours.

    Args:
        discriminator: Weights to start from by path.
        expected: Weights of the new discriminator by path.
        channels: Of the new network's images, 1 or 3.

    Returns:
        Weights by path, those of `expected` in number and shape.

    Raises:
        ValueError: The networks differ in more than their channels.
    """
    weights = dict(discriminator)
    kernel = weights.get(_FROM_IMAGE)
    if kernel is not None and kernel.shape[2] != channels:
        # Kernels are divided by the square root of the number of channels when they are used.
        scale = np.float32(np.sqrt(channels / kernel.shape[2]))
        one = kernel.sum(axis=2, keepdims=True) * scale
        weights[_FROM_IMAGE] = np.repeat(one / np.float32(channels), channels, axis=2)
    _require_same_shapes(weights, expected)
    return {path: weights[path] for path in expected}


def _require_same_shapes(weights: Mapping[str, np.ndarray], expected: Mapping[str, Any]) -> None:
    differing = sorted(weights.keys() ^ expected.keys())
    differing += [path for path in expected if path in weights and weights[path].shape != tuple(expected[path].shape)]
    if not differing:
        return
    theirs, ours = _mapping_layers(weights), _mapping_layers(expected)
    if all((number := _mapping_layer(path)) is not None and number >= min(theirs, ours) for path in differing):
        raise ValueError(
            "A generator to start from must have as many mapping layers as the new network. Received one with "
            f"{theirs} to start a network with {ours}. Train with `mapping_layers={theirs}` "
            f"(`gan_mapping_layers={theirs}` of the pipeline), or name another generator."
        )
    raise ValueError(
        "A generator to start from must have the new network's preset, size and labels; only the channels may "
        f"differ. {len(differing)} of {len(expected)} arrays do not fit, such as {differing[0]}. Train without "
        "`start_uri`, or name another generator."
    )


def _found(start_uri: str, label: str, scratch: Path) -> Path | None:
    local = Path(start_uri)
    if (local / "model.json").is_file():
        return local
    version = fetch_latest(f"{start_uri.rstrip('/')}/{label}", scratch)
    return scratch if version is not None else None


def _is_trained(path: str) -> bool:
    return path != STYLE_MEAN and not path.endswith("/noise")


def _mapping_layers(paths: Iterable[str]) -> int:
    return max((number + 1 for path in paths if (number := _mapping_layer(path)) is not None), default=0)


def _mapping_layer(path: str) -> int | None:
    found = re.match(r"mapping/dense_(\d+)/", path)
    return int(found[1]) if found else None


def _makes_colours(path: str) -> bool:
    return path.endswith(("_image/bias", "_image/convolution/kernel"))


def _recoloured(value: np.ndarray, channels: int) -> np.ndarray:
    return (value @ _LUMA)[..., None] if channels == 1 else np.repeat(value, 3, axis=-1)
