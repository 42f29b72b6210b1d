"""Model folders: `model.json`, `weights.safetensors` and the index of the training images."""

import csv
import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from regan.common.errors import CorruptFileError, NoFilesError, WrongArtifactError
from regan.common.files import atomic_write, file_hash

FORMAT = 1
MODEL = "model.json"
WEIGHTS = "weights.safetensors"
TRAINING_INDEX = "training_index.csv.gz"


def write_model(
    folder: str | Path,
    *,
    kind: str,
    weights: Mapping[str, np.ndarray] | None,
    metadata: Mapping[str, Any],
    training_index: Iterable[tuple[str, str]] = (),
) -> None:
    """Write a model into an existing folder. `model.json` comes last: a folder that contains it is complete.

    Args:
        folder: The folder, such as that of `regan.artifacts.output_folder.atomic_folder`.
        kind: `run`, `generator` or `classifier`.
        weights: Arrays by variable path, or None for a run, whose snapshots hold them.
        metadata: Further fields of `model.json` beside kind, format and versions: configuration, classes, metrics...
        training_index: (pixel hash, group) of every image that trained the model or was used to choose it.
    """
    from safetensors.numpy import save

    target = Path(folder)
    if weights is not None:
        # `save_file` makes a file that only its owner can read, and steps in containers may run as other users.
        contiguous = {name: np.asarray(value, order="C") for name, value in weights.items()}
        (target / WEIGHTS).write_bytes(save(contiguous))
    write_training_index(target, training_index)
    model = dict(metadata) | {"kind": kind, "format": FORMAT, "versions": versions()}
    with atomic_write(target / MODEL) as partial:
        partial.write_text(json.dumps(model, indent=1, sort_keys=True) + "\n", encoding="utf-8", newline="\n")


def read_model(folder: str | Path, kind: str | Sequence[str]) -> dict[str, Any]:
    """Read and check `model.json`.

    Args:
        folder: A model folder.
        kind: The kind, or kinds, that the caller can use.

    Raises:
        NoFilesError: The folder or its `model.json` is missing: it is not a model, or an incomplete one.
        WrongArtifactError: It is a model of another kind or format.
    """
    kinds = (kind,) if isinstance(kind, str) else tuple(kind)
    path = Path(folder) / MODEL
    if not path.is_file():
        raise NoFilesError(
            f"{folder} contains no `{MODEL}`: it is not a {' or '.join(kinds)}, or it is incomplete. Run the step that "
            "makes it again."
        )
    model = json.loads(path.read_text(encoding="utf-8"))
    if model.get("kind") not in kinds or model.get("format") != FORMAT:
        raise WrongArtifactError(
            f"{folder} is not a {' or '.join(kinds)} of format {FORMAT}. Received kind={model.get('kind')!r}, "
            f"format={model.get('format')!r}."
        )
    return model


def read_weights(folder: str | Path) -> dict[str, np.ndarray]:
    """Arrays by variable path, with their stored shape and dtype; CorruptFileError if the file cannot be read."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(Path(folder) / WEIGHTS)
    except (SafetensorError, OSError) as error:
        raise CorruptFileError(f"`{WEIGHTS}` in {folder} is corrupt: {error}. Make the model again.") from error


def weights_hash(folder: str | Path) -> str:
    """SHA-256 (hexadecimal) of the weight file, which identifies the model in every table."""
    return file_hash(Path(folder) / WEIGHTS)


def write_training_index(folder: Path, training_index: Iterable[tuple[str, str]]) -> None:
    """Write `(pixel hash, group)` pairs, sorted and without a date, so that the same pairs give the same bytes."""
    with (
        (folder / TRAINING_INDEX).open("wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as compressed,
    ):
        lines = [f"{sha256},{group}\n" for sha256, group in sorted(set(training_index))]
        compressed.write("".join(["sha256,group\n", *lines]).encode())


def read_training_index(folder: str | Path) -> set[tuple[str, str]]:
    """(pixel hash, group) of every image that trained the model in `folder`; CorruptFileError without the file."""
    path = Path(folder) / TRAINING_INDEX
    if not path.is_file():
        raise CorruptFileError(f"{folder} is incomplete: `{TRAINING_INDEX}` is missing. Make the model again.")
    with gzip.open(path, "rt", newline="", encoding="utf-8") as file:
        return {(row["sha256"], row["group"]) for row in csv.DictReader(file)}


def versions() -> dict[str, str]:
    """Versions of the libraries that determine numeric results, those that are installed."""
    found = {}
    for name in ("regan", "keras", "tensorflow", "tensorflow-cpu", "jax", "numpy", "scipy", "scikit-learn", "pillow"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
