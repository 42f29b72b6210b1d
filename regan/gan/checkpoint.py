"""Checkpoints: the whole state of a run, from which the same command goes on exactly.

A checkpoint is one safetensors file, `step-<number>-<SHA-256 of the file>.safetensors`. It is written beside, synced
and renamed; the last two are kept, so that a torn one is noticed and the one before it used.
"""

import hashlib
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops, tree
from safetensors.numpy import load, save

_LOG = logging.getLogger("regan")
_SEPARATOR = ":"
KEPT = 2


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        step: Steps done.
        seconds: Training time so far.
        state: The training state, NumPy arrays.
    """

    step: int
    seconds: float
    state: dict[str, Any]


def save_checkpoint(folder: Path, *, configuration: str, step: int, seconds: float, state: dict[str, Any]) -> Path:
    """Write a checkpoint and remove all but the last two.

    Args:
        folder: Existing folder of checkpoints.
        configuration: Hash of all that a resumed run must have in common.
        step: Steps done.
        seconds: Training time so far.
        state: Nested dictionaries of tensors.
    """
    metadata = {"configuration": configuration, "step": str(step), "seconds": repr(seconds)}
    data = save(_flatten(state), metadata)
    path = folder / f"step-{step:09d}-{hashlib.sha256(data).hexdigest()}.safetensors"
    _write_synced(path, data)
    for old in _files(folder)[:-KEPT]:
        old.unlink()
    return path


def load_checkpoint(folder: Path, *, configuration: str) -> Checkpoint | None:
    """The newest whole checkpoint; None where there is none.

    Raises:
        ValueError: It belongs to another configuration or other images.
    """
    for path in reversed(_files(folder)):
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != path.stem.rsplit("-", 1)[1]:
            _LOG.warning("Checkpoint %s is damaged; the one before it is used.", path.name)
            continue
        metadata = _metadata(data)
        if metadata["configuration"] != configuration:
            raise ValueError(
                "A run goes on only with the configuration and the images it began with (`kimg` may be raised). "
                f"Received others for the checkpoint in {folder}. Use another output or `checkpoint_uri`, or remove "
                "that folder to begin anew."
            )
        return Checkpoint(int(metadata["step"]), float(metadata["seconds"]), _nest(load(data)))
    return None


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.safetensors"), key=lambda path: int(path.stem.split("-")[1]))


def _write_synced(path: Path, data: bytes) -> None:
    partial = path.parent / ".partial"
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _metadata(data: bytes) -> dict[str, str]:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length])["__metadata__"]


def _flatten(state: dict[str, Any]) -> dict[str, np.ndarray]:
    arrays = tree.map_structure(lambda value: np.asarray(ops.convert_to_numpy(value), order="C"), state)
    flat: dict[str, np.ndarray] = {}
    for section, values in arrays.items():
        if isinstance(values, dict):
            flat |= {f"{section}{_SEPARATOR}{path}": value for path, value in values.items()}
        else:
            flat[section] = values
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
