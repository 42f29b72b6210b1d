"""History: a record of every step, stored with the data, so that the report needs nothing else.

Each output folder contains `history/NN-<verb>-<hash8>.json`, one file for every step that led to it; the highest number
is the step that wrote the folder. Images and names of patients are in `history/private/` under the same file name.
"""

import base64
import hashlib
import io
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from regan.artifacts.model import versions
from regan.common.errors import CorruptFileError

FORMAT = 1
HISTORY = "history"
PRIVATE = "private"
MAX_POINTS = 200  # of a curve; the report draws it 460 pixels wide
MAX_BYTES = 200_000  # of curves and pictures of a step: each output has a copy of the history of all steps before it
_THUMBNAIL_SIDES = (640, 480, 360, 270, 200, 150, 112)  # longest side in pixels; the largest that fits is used

Table = list[dict[str, Any]]


@dataclass(frozen=True)
class Step:
    """One step of the history.

    Attributes:
        id: `NN-<verb>-<hash8>`; the hash is over the content of the step's public file.
        number: NN, one more than the highest of its inputs.
        verb: Name of the verb.
        inputs: Argument -> ids of the steps that wrote the folders passed as it.
        settings: Resolved settings.
        counts: Numbers of images, snapshots and the like.
        figures: Main results.
        curves: Name -> {"x": [...], "y": [...], "x_label": ..., "y_label": ...}, at most 200 points each.
        tables: Name -> rows.
        thumbnails: Name -> PNG.
        private_tables: The same for tables that may name patients.
        private_thumbnails: The same for images of patients.
        versions: Versions of regan and of its libraries.
        seconds: Duration of the step.
    """

    id: str
    number: int
    verb: str
    inputs: dict[str, list[str]]
    settings: dict[str, Any]
    counts: dict[str, int]
    figures: dict[str, Any]
    curves: dict[str, dict[str, Any]]
    tables: dict[str, Table]
    thumbnails: dict[str, bytes] = field(repr=False)
    private_tables: dict[str, Table] = field(repr=False)
    private_thumbnails: dict[str, bytes] = field(repr=False)
    versions: dict[str, str]
    seconds: float


def write_step(
    folder: str | Path,
    verb: str,
    inputs: Mapping[str, str | Path | Sequence[str | Path]],
    *,
    settings: Mapping[str, Any],
    counts: Mapping[str, int] | None = None,
    figures: Mapping[str, Any] | None = None,
    curves: Mapping[str, Mapping[str, Any]] | None = None,
    tables: Mapping[str, Table] | None = None,
    thumbnails: Mapping[str, np.ndarray] | None = None,
    private_tables: Mapping[str, Table] | None = None,
    private_thumbnails: Mapping[str, np.ndarray] | None = None,
    seconds: float,
) -> Step:
    """Copy the history of the inputs into `folder` and add this step to it; verbs call `write_entry` of `entry.py`.

    Args:
        folder: The output folder that is being written.
        verb: Name of the verb.
        inputs: Argument -> folder or folders whose history is copied. Folders without history are allowed.
        settings: Resolved settings of the step.
        counts: Numbers of images, snapshots and the like.
        figures: Main results.
        curves: See `Step`; longer curves are thinned evenly.
        tables: Name -> rows.
        thumbnails: Name -> uint8 `(height, width)` or `(height, width, 1 or 3)`; never images of patients. They are
            downscaled until the step's curves and pictures fit into 200 kB.
        private_tables: Rows that may name patients or their files.
        private_thumbnails: Images of patients.
        seconds: Duration of the step.

    Returns:
        The step, as `read_history` returns it.

    Raises:
        ValueError: A value is not finite, or curves and the smallest pictures take more than 200 kB.
    """
    target = Path(folder) / HISTORY
    target.mkdir(parents=True, exist_ok=True)
    sources = {name: _folders(paths) for name, paths in inputs.items()}
    for source in (source for folders in sources.values() for source in folders):
        _copy_history(source, Path(folder))
    last = {name: [step.id for s in folders if (step := last_step(s))] for name, folders in sources.items()}
    number = 1 + max((int(name[:2]) for names in last.values() for name in names), default=0)
    thinned = {name: _thin(curve) for name, curve in (curves or {}).items()}
    pictures, private_pictures = _fit(thinned, thumbnails or {}, private_thumbnails or {}, verb)
    public = {
        "format": FORMAT,
        "verb": verb,
        "inputs": last,
        "settings": _plain(settings),
        "counts": _plain(counts or {}),
        "figures": _plain(figures or {}),
        "curves": thinned,
        "tables": _plain(tables or {}),
        "thumbnails": pictures,
        "versions": versions(),
        "seconds": round(float(seconds), 3),
    }
    private = {
        "tables": _plain(private_tables or {}),
        "thumbnails": private_pictures,
    }
    text = _json(public, verb)
    step_id = f"{number:02d}-{verb}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    (target / f"{step_id}.json").write_text(text, encoding="utf-8", newline="\n")
    if private["tables"] or private["thumbnails"]:
        (target / PRIVATE).mkdir(exist_ok=True)
        (target / PRIVATE / f"{step_id}.json").write_text(_json(private, verb), encoding="utf-8", newline="\n")
    return _read_step(target / f"{step_id}.json")


def read_history(folder: str | Path) -> dict[str, Step]:
    """Every step that led to `folder`, by id, in order; empty if it has no history.

    Raises:
        CorruptFileError: A file of the history cannot be read.
    """
    return {path.stem: _read_step(path) for path in _step_files(Path(folder))}


def last_step(folder: str | Path) -> Step | None:
    """The step that wrote `folder`; None if it has no history, such as a plain folder of images."""
    files = list(_step_files(Path(folder)))
    return _read_step(files[-1]) if files else None


def contact_sheet(images: np.ndarray, columns: int = 8) -> np.ndarray:
    """Arrange images in one picture.

    Args:
        images: uint8 `(n, height, width, 1 or 3)`, 0-255, n at least 1.
        columns: Images per row.

    Returns:
        uint8 `(rows * height, columns * width, 1 or 3)`; positions without an image are black.
    """
    n, height, width, channels = images.shape
    columns = min(columns, n)
    rows = -(-n // columns)
    padded = np.zeros((rows * columns, height, width, channels), np.uint8)
    padded[:n] = images
    grid = padded.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return grid.reshape(rows * height, columns * width, channels)


def _step_files(folder: Path) -> Iterator[Path]:
    return iter(sorted((folder / HISTORY).glob("[0-9][0-9]-*.json")))


def _folders(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    return [Path(p) for p in ([paths] if isinstance(paths, str | Path) else paths)]


def _copy_history(source: Path, target: Path) -> None:
    for path in _step_files(source):
        for file in (path, path.parent / PRIVATE / path.name):
            if file.is_file():
                copy = target / file.relative_to(source)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)


def _read_step(path: Path) -> Step:
    private_path = path.parent / PRIVATE / path.name
    try:
        public = json.loads(path.read_text(encoding="utf-8"))
        if public["format"] != FORMAT:
            raise ValueError(f"it has format {public['format']!r}, not {FORMAT}")
        private: dict[str, Any] = {"tables": {}, "thumbnails": {}}
        if private_path.is_file():
            private = json.loads(private_path.read_text(encoding="utf-8"))
        return _step(path.stem, public, private)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptFileError(
            f"The history file {path} is corrupt or was written by another version of regan: {error}. Run the step "
            "again."
        ) from error


def _step(name: str, public: Mapping[str, Any], private: Mapping[str, Any]) -> Step:
    return Step(
        id=name,
        number=int(name[:2]),
        verb=public["verb"],
        inputs=public["inputs"],
        settings=public["settings"],
        counts=public["counts"],
        figures=public["figures"],
        curves=public["curves"],
        tables=public["tables"],
        thumbnails={name: base64.b64decode(png) for name, png in public["thumbnails"].items()},
        private_tables=private["tables"],
        private_thumbnails={name: base64.b64decode(png) for name, png in private["thumbnails"].items()},
        versions=public["versions"],
        seconds=public["seconds"],
    )


def _plain(value: Any) -> Any:
    """The same with NumPy numbers, paths and tuples as JSON types."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic | np.ndarray):
        return _plain(value.tolist())
    return str(value) if isinstance(value, Path) else value


def _json(value: Any, verb: str) -> str:
    try:
        return json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n"
    except ValueError as error:
        raise ValueError(f"A figure of {verb} is not finite: {error}. Leave it out instead.") from error


def _thin(curve: Mapping[str, Any]) -> dict[str, Any]:
    plain = _plain(curve)
    n = len(plain["x"])
    keep = range(n) if n <= MAX_POINTS else np.unique(np.linspace(0, n - 1, MAX_POINTS).round().astype(int))
    return plain | {axis: [plain[axis][i] for i in keep] for axis in ("x", "y")}


def _fit(
    curves: Mapping[str, Any], public: Mapping[str, np.ndarray], private: Mapping[str, np.ndarray], verb: str
) -> tuple[dict[str, str], dict[str, str]]:
    """The pictures as base64 PNG, downscaled until they and the curves take at most `MAX_BYTES`."""
    taken = 0
    for side in _THUMBNAIL_SIDES:
        pictures = [{name: _encode(image, side) for name, image in group.items()} for group in (public, private)]
        taken = len(json.dumps([curves, *pictures]))
        if taken <= MAX_BYTES:
            return pictures[0], pictures[1]
    raise ValueError(
        f"Curves and thumbnails of {verb} take {taken} bytes, more than the {MAX_BYTES} of a step. Use fewer curves or "
        "pictures."
    )


def _encode(image: np.ndarray, side: int) -> str:
    picture = Image.fromarray(image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()
