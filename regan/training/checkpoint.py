"""Checkpoints: the whole state of a training, from which the same command goes on exactly.

A checkpoint is one safetensors file, `step-<number>-<SHA-256 of the file>.safetensors`. It is written beside, synced
and renamed; the last two are kept, so that a torn one is noticed and the one before it used.
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
from regan.common.files import atomic_write

CHECKPOINTS = "checkpoints"
KEPT = 2
_LOG = logging.getLogger("regan")
_SEPARATOR = ":"
_OTHERS = (
    "A training goes on only with the configuration and the images it began with (its length may be raised). Received "
    "others for the checkpoint in {place}, which is of another configuration or other images. Use another output or "
    "`checkpoint_uri`, or remove what lies there to begin anew."
)


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


def contents_hash(rows: Iterable[ImageRow]) -> str:
    """SHA-256 over the pixel hashes and labels of the images, in order."""
    lines = [f"{row.sha256},{row.label}\n" for row in rows]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def identity_hash(**parts: Any) -> str:
    """SHA-256 of all that a resumed training must have in common with the one before, plain JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def require_own(configuration: str, stored: str, place: str | Path) -> None:
    """Refuse a state that another configuration left.

    Raises:
        ValueError: It belongs to another configuration or other images.
    """
    if stored != configuration:
        raise ValueError(_OTHERS.format(place=place))


def require_own_checkpoints(folder: Path, configuration: str) -> None:
    """Refuse the checkpoints of another configuration, without reading them whole.

    Raises:
        ValueError: They belong to another configuration or other images.
    """
    for path in checkpoint_files(folder):
        with path.open("rb") as file, contextlib.suppress(KeyError, json.JSONDecodeError, UnicodeDecodeError):
            header = file.read(min(int.from_bytes(file.read(8), "little"), path.stat().st_size))
            stored = json.loads(header)["__metadata__"]["configuration"]
            require_own(configuration, stored, folder)


def save_checkpoint(folder: Path, *, configuration: str, step: int, seconds: float, state: Mapping[str, Any]) -> Path:
    """Write a checkpoint and remove all but the last two.

    Args:
        folder: Existing folder of checkpoints.
        configuration: Hash of all that a resumed training must have in common.
        step: Steps done.
        seconds: Training time so far.
        state: NumPy arrays by name, or dictionaries of them by section.
    """
    metadata = {"configuration": configuration, "step": str(step), "seconds": repr(seconds)}
    data = save(_flatten(state), metadata)
    path = folder / f"step-{step:09d}-{hashlib.sha256(data).hexdigest()}.safetensors"
    with atomic_write(path, durable=True, single_writer=True) as partial:
        partial.write_bytes(data)
    for old in checkpoint_files(folder)[:-KEPT]:
        old.unlink()
    return path


def load_checkpoint(folder: Path, *, configuration: str) -> Checkpoint | None:
    """The newest whole checkpoint; None where there is none.

    Raises:
        ValueError: It belongs to another configuration or other images, or none of those that are there is whole.
    """
    paths = checkpoint_files(folder)
    for path in reversed(paths):
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != path.stem.rsplit("-", 1)[1]:
            _LOG.warning("Checkpoint %s is damaged; the one before it is used, if there is one.", path.name)
            continue
        metadata = _metadata(data)
        require_own(configuration, metadata["configuration"], folder)
        return Checkpoint(int(metadata["step"]), float(metadata["seconds"]), _nest(load(data)))
    if paths:
        raise ValueError(
            f"One of the checkpoints must be whole, to go on from it. Received {len(paths)} in {folder}, all damaged. "
            "Bring one back from a backup, or move that folder away to begin anew; nothing was changed."
        )
    return None


def checkpoint_files(folder: Path) -> list[Path]:
    """Checkpoints of a folder, oldest first, whole or damaged."""
    return sorted(folder.glob("step-*.safetensors"), key=_step)


def newest_step(folder: Path) -> int:
    """Steps that the newest checkpoint of a folder has, by its name; -1 where there is none."""
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
