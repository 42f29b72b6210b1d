"""Read and write the folder of a generator and of its discriminator, without a deep-learning framework."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from regan.artifacts.model import write_model
from regan.common.errors import CorruptFileError
from regan.gan.configuration import GanConfig

STYLE_MEAN = "style_mean"  # running mean of w, the centre of truncation
DISCRIMINATOR = "discriminator.safetensors"  # beside the weights; its SHA-256 is `discriminator` of model.json


def write_generator(
    folder: Path,
    kimg: float,
    config: GanConfig,
    weights: Mapping[str, np.ndarray],
    *,
    classes: tuple[str, ...],
    training_index: Iterable[tuple[str, str]],
    origin: Mapping[str, Any] = MappingProxyType({}),
    discriminator: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write an averaged generator into an existing folder.

    Args:
        folder: Where to write.
        kimg: Thousands of real images that trained it.
        config: Its configuration.
        weights: Averaged weights, constant noise and `style_mean` by path: float32, shapes as in
            `regan.nvidia.conversion.generator_shapes`, such as `(3, 3, maps, filters)` for kernels.
        classes: The two classes of the image set that trained it, the positive one last.
        training_index: (pixel hash, group) of the images that trained it.
        origin: Initial weights that training started from, and their licence.
        discriminator: Weights of the discriminator by path, float32, to be written too; None = none.
    """
    metadata: dict[str, Any] = {
        "configuration": config.to_dict(),
        "kimg": kimg,
        "classes": list(classes),
        "labels": list(config.labels),
        "size": config.size,
        "channels": config.channels,
        **origin,
    }
    if discriminator is not None:
        metadata["discriminator"] = _write_discriminator(folder / DISCRIMINATOR, discriminator)
    write_model(folder, kind="generator", weights=weights, metadata=metadata, training_index=training_index)


def read_discriminator(folder: Path, model: Mapping[str, Any]) -> dict[str, np.ndarray] | None:
    """Read the discriminator in the folder of a generator.

    Args:
        folder: Folder of the generator.
        model: Its `model.json`.

    Returns:
        Weights by path, float32, kernels `(size, size, maps, filters)`; None where the folder has no discriminator.

    Raises:
        CorruptFileError: The file is missing or corrupt.
    """
    from safetensors.numpy import load

    if "discriminator" not in model:
        return None
    path = folder / DISCRIMINATOR
    data = path.read_bytes() if path.is_file() else b""
    received = hashlib.sha256(data).hexdigest()
    if received != model["discriminator"]:
        raise CorruptFileError(
            f"`{DISCRIMINATOR}` in {folder} is {'corrupt' if data else 'missing'}. `model.json` expects SHA-256 "
            f"{model['discriminator']}. Received {received if data else 'no file'}. Make the generator again."
        )
    return load(data)


def _write_discriminator(path: Path, weights: Mapping[str, np.ndarray]) -> str:
    from safetensors.numpy import save

    # safetensors writes the buffer as it is, so arrays in column order would be read back transposed.
    data = save({name: np.asarray(value, order="C") for name, value in weights.items()})
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()
