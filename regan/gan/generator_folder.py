"""The folder of a generator, and of the discriminator that was trained with it, written without a framework."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from regan.artifacts.model import write_model
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
        weights: Averaged weights, constant noise and `style_mean`, by path.
        classes: The two classes of the image set it was trained on, the positive one last.
        training_index: (pixel hash, group) of the images that trained it.
        origin: What it started from, and the terms of that.
        discriminator: Weights of the discriminator by path, where they are kept too.
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
    """Weights by path of the discriminator that lies beside a generator; None where there is none.

    Args:
        folder: Folder of the generator.
        model: Its `model.json`.

    Raises:
        ValueError: It is missing or damaged.
    """
    from safetensors.numpy import load

    if "discriminator" not in model:
        return None
    path = folder / DISCRIMINATOR
    data = path.read_bytes() if path.is_file() else b""
    received = hashlib.sha256(data).hexdigest()
    if received != model["discriminator"]:
        raise ValueError(
            f"`{DISCRIMINATOR}` of {folder} must have the SHA-256 that `model.json` names, {model['discriminator']}. "
            f"Received {received if data else 'no such file'}: it is damaged. Make the generator again."
        )
    return load(data)


def _write_discriminator(path: Path, weights: Mapping[str, np.ndarray]) -> str:
    from safetensors.numpy import save

    data = save({name: np.asarray(value, order="C") for name, value in weights.items()})
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()
