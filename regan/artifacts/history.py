"""History: what every step did, carried along with the data, so that the report needs nothing else.

Each output folder holds `history/NN-<verb>-<hash8>.json`, one for every step that led to it; the highest number is the
step that wrote the folder. What shows or names patients lies in `history/private/` under the same name.
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

FORMAT = 1
HISTORY = "history"
PRIVATE = "private"
MAX_POINTS = 200
MAX_BYTES = 200_000
_THUMBNAIL_SIDES = (640, 480, 360, 270, 200, 150, 112)

Table = list[dict[str, Any]]


@dataclass(frozen=True)
class Step:
    """One step of the history.

    Attributes:
        id: `NN-<verb>-<hash8>`; the hash is over all that the step's public file says.
        number: NN, one more than the highest of its inputs.
        verb: Name of the verb.
        inputs: For each argument the ids of the steps that wrote what it was given.
        settings: Resolved settings.
        counts: How many of what.
        figures: Main results.
        curves: Name -> {"x": [...], "y": [...], "x_label": ..., "y_label": ...}, at most 200 points each.
        tables: Name -> rows.
        thumbnails: Name -> PNG.
        private_tables: The same for what may name patients.
        private_thumbnails: The same for images of patients.
        versions: Versions of regan and of its libraries.
        seconds: How long the step took.
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
    """Copy the history of the inputs into `folder` and add this step to it.

    Args:
        folder: The output folder that is being written.
        verb: Name of the verb.
        inputs: Argument -> folder, or folders, whose history leads here. Folders without history are allowed.
        settings: Resolved settings of the step.
        counts: How many of what.
        figures: Main results.
        curves: See `Step`; longer ones are thinned evenly.
        tables: Name -> rows.
        thumbnails: Name -> uint8 `(height, width)` or `(height, width, 1 or 3)`; never images of patients. They are
            made smaller until the step's curves and pictures fit into 200 kB.
        private_tables: Rows that may name patients or their files.
        private_thumbnails: Images of patients.
        seconds: How long the step took.

    Returns:
        The step, as `read_history` gives it.

    Raises:
        ValueError: A value is not finite, or curves and smallest pictures take more than 200 kB.
    """
    target = Path(folder) / HISTORY
    target.mkdir(parents=True, exist_ok=True)
    sources = {name: _folders(paths) for name, paths in inputs.items()}
    for source in (source for folders in sources.values() for source in folders):
        _copy_history(source, Path(folder))
    last = {name: [step.id for s in folders if (step := last_step(s))] for name, folders in sources.items()}
    number = 1 + max((int(name[:2]) for names in last.values() for name in names), default=0)
    thinned = {name: _thinned(curve) for name, curve in (curves or {}).items()}
    pictures, private_pictures = _fitted(thinned, thumbnails or {}, private_thumbnails or {}, verb)
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
    """Every step that led to `folder`, by id, in order; empty where it has no history."""
    return {path.stem: _read_step(path) for path in _step_files(Path(folder))}


def last_step(folder: str | Path) -> Step | None:
    """The step that wrote `folder`; None where it has no history, as a plain folder of images has none."""
    files = list(_step_files(Path(folder)))
    return _read_step(files[-1]) if files else None


def contact_sheet(images: np.ndarray, columns: int = 8) -> np.ndarray:
    """Join images to one picture.

    Args:
        images: uint8 `(n, height, width, 1 or 3)`, n at least 1.
        columns: Images a row.

    Returns:
        uint8 `(rows * height, columns * width, 1 or 3)`; places without an image are black.
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
    public = json.loads(path.read_text(encoding="utf-8"))
    if public.get("format") != FORMAT:
        raise ValueError(
            f"A history step must have format {FORMAT}. Received format={public.get('format')!r} in {path}."
        )
    private_path = path.parent / PRIVATE / path.name
    private = (
        json.loads(private_path.read_text(encoding="utf-8"))
        if private_path.is_file()
        else {"tables": {}, "thumbnails": {}}
    )
    return Step(
        id=path.stem,
        number=int(path.stem[:2]),
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
    """The same with NumPy numbers, paths and tuples as JSON knows them."""
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
        raise ValueError(
            f"Every figure of a step must be finite. A value of {verb} is not: {error}. Report it as missing instead."
        ) from error


def _thinned(curve: Mapping[str, Any]) -> dict[str, Any]:
    plain = _plain(curve)
    n = len(plain["x"])
    keep = range(n) if n <= MAX_POINTS else np.unique(np.linspace(0, n - 1, MAX_POINTS).round().astype(int))
    return plain | {axis: [plain[axis][i] for i in keep] for axis in ("x", "y")}


def _fitted(
    curves: Mapping[str, Any], public: Mapping[str, np.ndarray], private: Mapping[str, np.ndarray], verb: str
) -> tuple[dict[str, str], dict[str, str]]:
    """The pictures as base64 PNG, made smaller until they and the curves take no more than a step may."""
    taken = 0
    for side in _THUMBNAIL_SIDES:
        pictures = [{name: _encoded(image, side) for name, image in group.items()} for group in (public, private)]
        taken = len(json.dumps([curves, *pictures]))
        if taken <= MAX_BYTES:
            return pictures[0], pictures[1]
    raise ValueError(
        f"Curves and thumbnails of a step may take {MAX_BYTES} bytes. Those of {verb} take {taken}. "
        "Give fewer curves or pictures."
    )


def _encoded(image: np.ndarray, side: int) -> str:
    picture = Image.fromarray(image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()
