"""Initial weights from another generator, and a copy of them in the work folder.

Because of the copy, an interrupted training resumes unchanged even if another generator is at the URI by then. It also
adds the images that trained the first generator to the training index, so that none of them can be used in a test.
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
from regan.artifacts.output_folder import atomic_folder
from regan.common.errors import WrongArtifactError
from regan.gan.generator_folder import STYLE_MEAN, read_discriminator
from regan.storage import fetch_latest

START = "start"  # sub-folder of the work folder; part of the state that checkpoint sync uploads
_LOG = logging.getLogger("regan")
_FROM_IMAGE = "discriminator/from_image/kernel"
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue, ITU-R BT.601


@dataclass(frozen=True)
class InitialWeights:
    """A generator that training starts from, with its discriminator if the folder has one.

    Attributes:
        weights: Averaged weights of the generator by path, float32.
        hash: SHA-256 of its weight file.
        discriminator: Weights of the discriminator by path, float32; None = training starts with a new discriminator.
        discriminator_hash: SHA-256 of their file; empty = none.
        channels: Channels of its images, 1 (grey) or 3 (RGB).
        licence: Licence of the weights; empty = no restriction.
        training_index: (pixel hash, group) of the images that trained it.
    """

    weights: dict[str, np.ndarray]
    hash: str
    discriminator: dict[str, np.ndarray] | None
    discriminator_hash: str
    channels: int
    licence: str
    training_index: set[tuple[str, str]]

    def provenance(self) -> dict[str, str]:
        """Entries for `model.json` of models trained from these weights: hashes, and the licence if there is one."""
        entries = {"start": self.hash, "start_discriminator": self.discriminator_hash, "licence": self.licence}
        return {name: value for name, value in entries.items() if value}


def load_initial_weights(start_uri: str, label: str, work: Path, *, begun: bool) -> InitialWeights | None:
    """Copy a generator into the work folder, unless it is there or training started without one, and read it.

    Args:
        start_uri: Folder of a generator, or a local path or URI below which `label` holds versions of one; empty =
            none.
        label: Name of the network: a class, or `all`.
        work: Work folder of the training.
        begun: Whether training has a checkpoint already.

    Returns:
        The generator; None = training starts from random weights.

    Raises:
        WrongArtifactError: The folder contains another kind of model.
        CorruptFileError: The generator is corrupt.
        OSError: The path or URI cannot be read.
    """
    place = work / START
    if start_uri and not begun and not place.exists():
        with tempfile.TemporaryDirectory(dir=work, prefix=f"{START}-") as scratch:
            found = _find_generator(start_uri, label, Path(scratch))
            if found is None:
                # The first of a series of runs: the next one finds what this one publishes.
                _LOG.warning("No generator at %s yet. Training starts from random weights.", start_uri)
                return None
            # Before it is copied, so that a corrupt one never becomes a part of the state.
            read_discriminator(found, read_model(found, "generator"))
            with atomic_folder(place) as folder:
                shutil.copytree(found, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("history"))
    if not place.exists():
        return None
    model = read_model(place, "generator")
    start = InitialWeights(
        read_weights(place),
        weights_hash(place),
        read_discriminator(place, model),
        model.get("discriminator", ""),
        model["channels"],
        model.get("licence", ""),
        read_training_index(place),
    )
    _LOG.info(
        "Training starts from generator %s (%s kimg) and %s.",
        start.hash[:12],
        f"{model['kimg']:g}",
        f"discriminator {start.discriminator_hash[:12]}" if start.discriminator else "a new discriminator",
    )
    return start


def adapt_generator(start: InitialWeights, expected: Mapping[str, Any], channels: int) -> dict[str, np.ndarray]:
    """Adapt the generator's weights to a network that may have another number of channels.

    From RGB to grey, the output layers take the luma of the three colours. From grey to RGB, all colours get the same
    weights.

    Args:
        start: Generator to start from.
        expected: Weights of the new network by path; only their shapes are read.
        channels: Channels of the new network's images, 1 or 3.

    Returns:
        Weights by path, float32, with the paths and shapes of `expected`; output kernels are `(1, 1, maps, channels)`.

    Raises:
        WrongArtifactError: The networks differ in more than their channels.
    """
    weights = {path: value for path, value in start.weights.items() if _is_trained(path)}
    if start.channels != channels:
        weights |= {path: _convert_channels(value, channels) for path, value in weights.items() if _has_channels(path)}
    _require_same_shapes(weights, expected)
    return {path: weights[path] for path in expected}


def adapt_discriminator(
    discriminator: Mapping[str, np.ndarray], expected: Mapping[str, Any], channels: int
) -> dict[str, np.ndarray]:
    """Adapt the discriminator's weights to a network that may have another number of channels.

    From RGB to grey, a grey image gets the score that it had as three equal colours. From grey to RGB, the score is
    that of the mean of the colours.

    Args:
        discriminator: Weights to start from by path, float32.
        expected: Weights of the new discriminator by path; only their shapes are read.
        channels: Channels of the new network's images, 1 or 3.

    Returns:
        Weights by path, float32, with the paths and shapes of `expected`; the first kernel is `(1, 1, channels, maps)`.

    Raises:
        WrongArtifactError: The networks differ in more than their channels.
    """
    weights = dict(discriminator)
    kernel = weights.get(_FROM_IMAGE)
    if kernel is not None and kernel.shape[2] != channels:
        # The equalised learning rate divides kernels by the square root of their fan-in when they are used, so the
        # same score needs a kernel larger by the root of new over old channels.
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
    # The number of mapping layers is the one difference that a setting can remove, so it has its own message.
    if all((number := _mapping_layer(path)) is not None and number >= min(theirs, ours) for path in differing):
        raise WrongArtifactError(
            f"The initial generator has {theirs} mapping layers, the new network has {ours}. Train with "
            f"`mapping_layers={theirs}` (`gan_mapping_layers={theirs}` of the pipeline), or use another generator."
        )
    raise WrongArtifactError(
        "The initial generator does not match the new network: preset, size and labels must be the same, only the "
        f"channels may differ. {len(differing)} of {len(expected)} arrays do not match, such as {differing[0]}. Train "
        "without `start_uri`, or use another generator."
    )


def _find_generator(start_uri: str, label: str, scratch: Path) -> Path | None:
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


def _has_channels(path: str) -> bool:
    return path.endswith(("_image/bias", "_image/convolution/kernel"))


def _convert_channels(value: np.ndarray, channels: int) -> np.ndarray:
    return (value @ _LUMA)[..., None] if channels == 1 else np.repeat(value, 3, axis=-1)
