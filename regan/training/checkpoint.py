"""Checkpoints: the complete state of a training, from which the same command resumes exactly.

A checkpoint is one safetensors file, `step-<number>-<SHA-256 of the file>.safetensors`. It is written to a temporary
file, synced and renamed. The last two stay: a corrupt one is recognised by its hash, and the previous one is used.
"""

import contextlib
import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from regan.artifacts.image_set import ImageRow
from regan.common.errors import CheckpointMismatchError, CorruptFileError
from regan.common.files import atomic_write

CHECKPOINTS = "checkpoints"
NUM_CHECKPOINTS = 2  # the newest one and, in case that is corrupt, the previous one
_LOG = logging.getLogger("regan")
_SEPARATOR = ":"  # between section and path of a variable; not in the names of Keras, which use slashes


@dataclass(frozen=True)
class Checkpoint:
    """Content of a checkpoint.

    Attributes:
        step: Steps done.
        seconds: Training time so far.
        state: The training state: arrays by name, or dictionaries of them by section.
    """

    step: int
    seconds: float
    state: dict[str, Any]


def contents_hash(rows: Iterable[ImageRow]) -> str:
    """SHA-256 (hexadecimal) of the pixel hashes and labels of the images, in order."""
    lines = [f"{row.sha256},{row.label}\n" for row in rows]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def identity_hash(**parts: Any) -> str:
    """SHA-256 (hexadecimal) of everything that a resumed training must share with the first one, plain JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def require_match(configuration: str, stored: str, location: str | Path) -> None:
    """Refuse a checkpoint of another training.

    Args:
        configuration: `identity_hash` of this training.
        stored: `identity_hash` in the checkpoint.
        location: Folder or URI of the checkpoint, for the message.

    Raises:
        CheckpointMismatchError: The checkpoint belongs to another configuration or other images.
    """
    if stored != configuration:
        raise CheckpointMismatchError(
            f"The checkpoint in {location} belongs to another configuration or other images. A training resumes only "
            "with its own configuration and images; only its length may be raised. Use another output or "
            "`checkpoint_uri`, or remove the checkpoint to start again."
        )


def require_matching_checkpoints(folder: Path, configuration: str) -> None:
    """Refuse checkpoints of another training. Reads headers only, so that it takes no time before training.

    Raises:
        CheckpointMismatchError: They belong to another configuration or other images.
    """
    for path in checkpoint_files(folder):
        with path.open("rb") as file, contextlib.suppress(KeyError, json.JSONDecodeError, UnicodeDecodeError):
            # The safetensors format: 8 bytes with the length of the header, then the header as JSON.
            header = file.read(min(int.from_bytes(file.read(8), "little"), path.stat().st_size))
            stored = json.loads(header)["__metadata__"]["configuration"]
            require_match(configuration, stored, folder)


def save_checkpoint(folder: Path, *, configuration: str, step: int, seconds: float, state: Mapping[str, Any]) -> Path:
    """Write a checkpoint and remove all but the last two.

    Args:
        folder: Existing folder of checkpoints.
        configuration: `identity_hash` of the training.
        step: Steps done.
        seconds: Training time so far.
        state: NumPy arrays of any shape and dtype by name, or dictionaries of them by section.

    Returns:
        The file.
    """
    metadata = {"configuration": configuration, "step": str(step), "seconds": repr(seconds)}
    data = save(_flatten(state), metadata)
    path = folder / f"step-{step:09d}-{hashlib.sha256(data).hexdigest()}.safetensors"
    with atomic_write(path, durable=True, single_writer=True) as partial:
        partial.write_bytes(data)
    for old in checkpoint_files(folder)[:-NUM_CHECKPOINTS]:
        old.unlink()
    return path


def load_checkpoint(folder: Path, *, configuration: str) -> Checkpoint | None:
    """The newest checkpoint that is not corrupt; None if there are no checkpoints.

    Raises:
        CheckpointMismatchError: It belongs to another configuration or other images.
        CorruptFileError: All checkpoints are corrupt.
    """
    paths = checkpoint_files(folder)
    for path in reversed(paths):
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != path.stem.rsplit("-", 1)[1]:
            _LOG.warning("Checkpoint %s is corrupt; using the previous one, if there is one.", path.name)
            continue
        metadata = _metadata(data)
        require_match(configuration, metadata["configuration"], folder)
        return Checkpoint(int(metadata["step"]), float(metadata["seconds"]), _nest(load(data)))
    if paths:
        raise CorruptFileError(
            f"All {len(paths)} checkpoints in {folder} are corrupt. Restore one from a backup, or move the folder "
            "away to start again; nothing was changed."
        )
    return None


def checkpoint_files(folder: Path) -> list[Path]:
    """Checkpoints of a folder, oldest first, including corrupt ones."""
    return sorted(folder.glob("step-*.safetensors"), key=_step)


def newest_step(folder: Path) -> int:
    """Number of steps of the newest checkpoint in a folder, by its name; -1 if there is none."""
    return max(map(_step, checkpoint_files(folder)), default=-1)


def _step(path: Path) -> int:
    return int(path.stem.split("-")[1])


def _metadata(data: bytes) -> dict[str, str]:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length])["__metadata__"]


def _flatten(state: Mapping[str, Any]) -> dict[str, np.ndarray]:
    flat: dict[str, np.ndarray] = {}
    for section, values in state.items():
        if isinstance(values, Mapping):
            flat |= {f"{section}{_SEPARATOR}{path}": np.asarray(value, order="C") for path, value in values.items()}
        else:
            flat[section] = np.asarray(values, order="C")
    return flat


def _nest(flat: dict[str, np.ndarray]) -> dict[str, Any]:
    state: dict[str, Any] = {}
    for name, value in flat.items():
        section, _, path = name.partition(_SEPARATOR)
        if path:
            state.setdefault(section, {})[path] = value
        else:
            state[section] = value
    return state
