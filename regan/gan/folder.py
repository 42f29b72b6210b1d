"""The folder of a generator, written without a framework."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from regan.data.model import write_model
from regan.gan.configuration import GanConfig

STYLE_MEAN = "style_mean"  # running mean of w, the centre of truncation


def write_generator(
    folder: Path,
    kimg: float,
    config: GanConfig,
    weights: Mapping[str, np.ndarray],
    *,
    classes: tuple[str, ...],
    training_index: Iterable[tuple[str, str]],
    origin: Mapping[str, Any] = MappingProxyType({}),
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
    """
    metadata = {
        "configuration": config.to_dict(),
        "kimg": kimg,
        "classes": list(classes),
        "labels": list(config.labels),
        "size": config.size,
        "channels": config.channels,
        **origin,
    }
    write_model(folder, kind="generator", weights=weights, metadata=metadata, training_index=training_index)
