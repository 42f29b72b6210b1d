"""Measure how close synthetic images are to real ones, how varied they are, and whether they copy patients."""

import csv
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

    from regan.artifacts.image_set import ImageSet
    from regan.quality.audit import Audit

_LOG = logging.getLogger("regan")
AUDIT, MEASURES, NEAREST = "audit.json", "measures.csv", "nearest.csv"
FORMAT = 1
_NUM_PAIRS = 16


@dataclass(frozen=True)
class AuditedImages:
    """Result of `audit_images`. Every figure stands beside its real-versus-real floor in `audit.json`.

    Attributes:
        path: Folder with `audit.json`, `measures.csv`, `nearest.csv` and the history.
        verdict: `failed` when more images are memorised than allowed, else `passed`.
        kernel_distance: To the training images; 0 on average for real images.
        frechet_distance: To the training images, at as many images as were held out.
        precision: Share of synthetic images that look real, 0 to 1.
        recall: Share of the training images' variety that synthetic images reach, 0 to 1.
        density: How often synthetic images lie where training images are dense; about 1 for real images.
        coverage: Share of training images with a synthetic image nearby, 0 to 1.
        num_memorised: Synthetic images that copy a training image.
    """

    path: Path
    verdict: Literal["passed", "failed"]
    kernel_distance: float
    frechet_distance: float
    precision: float
    recall: float
    density: float
    coverage: float
    num_memorised: int


def audit_images(
    synthetic: str | Path,
    train: str | Path,
    validation: str | Path,
    audit: str | Path,
    *,
    features: str = "radiomic",
    max_memorised: float = 0.01,
    seed: int = 0,
) -> AuditedImages:
    """Measure how close synthetic images are to real ones, how varied they are, and whether they copy patients.

    Distances and coverage are shown beside a floor: the same measure between training and validation images. The one
    limit is on copies. A synthetic image counts as memorised when its nearest training image, after mirroring and small
    shifts, is far nearer than training images are to held-out patients: below the lower quartile of the held-out ratios
    by three interquartile ranges, and under 3/4 of their median, at 32 x 32 or at full size.

    Args:
        synthetic: Image set to audit.
        train: Real images that trained the generator.
        validation: Held-out real images, which the generator never saw.
        audit: Folder to write.
        features: Feature extractor of the audit's distances: "radiomic", a keras.applications network, or the folder of
            a classifier.
        max_memorised: Maximum fraction of synthetic images that may be copies of training images, 0 to 1.
        seed: Seed of the random draws that make the sets equally large.

    Returns:
        The verdict and the main figures.

    Raises:
        FileNotFoundError: An input is missing.
        FileExistsError: `audit` holds something already.
        ValueError: A setting is out of range, the sets do not fit each other, or validation images are training images.
    """
    started = time.monotonic()
    if not 0 <= max_memorised <= 1:
        raise ValueError(f"`max_memorised` must be between 0 and 1. Received max_memorised={max_memorised}.")
    from regan.artifacts.image_set import ImageSet
    from regan.artifacts.output_folder import atomic_folder, require_empty_output
    from regan.quality.audit import audit as audit_sets
    from regan.quality.extractors import feature_extractor

    require_empty_output(Path(audit))
    sets = _Sets(ImageSet.open(synthetic), ImageSet.open(train), ImageSet.open(validation))
    _require_fit(sets)
    _require_disjoint(sets)
    extractor = feature_extractor(features)
    found = audit_sets(sets.synthetic, sets.train, sets.validation, extractor, max_memorised=max_memorised, seed=seed)
    figures = _figures(found)
    settings = {
        "extractor": extractor.name,
        "extractor_hash": extractor.hash,
        "max_memorised": max_memorised,
        "seed": seed,
        "verdict": found.verdict,
        "held_out": found.held_out,
        "cut": asdict(found.threshold),
        "num_compared": found.num_compared,
    }
    with atomic_folder(audit) as folder:
        _write_tables(folder, sets, found, {"format": FORMAT, "verdict": found.verdict} | figures | settings)
        inputs = {"synthetic": synthetic, "train": train, "validation": validation}
        _write_history(folder, inputs, sets, found, settings, figures, time.monotonic() - started)
    _LOG.info("Audit %s: %d of %d images memorised", found.verdict, figures["num_memorised"], len(sets.synthetic))
    names = [one.name for one in fields(AuditedImages) if one.name not in ("path", "verdict")]
    return AuditedImages(path=Path(audit), verdict=found.verdict, **{name: figures[name] for name in names})


@dataclass(frozen=True)
class _Sets:
    synthetic: "ImageSet"
    train: "ImageSet"
    validation: "ImageSet"


def _require_fit(sets: _Sets) -> None:
    kinds = {name: (one.size, one.channels) for name, one in vars(sets).items()}
    if len(set(kinds.values())) > 1:
        raise ValueError(
            "All image sets must have the same size and channels. Received "
            + ", ".join(f"{name} with {size} pixels and {channels}" for name, (size, channels) in kinds.items())
            + ". Prepare the images again at the generator's size."
        )
    unknown = {row.label for row in sets.synthetic.rows} - {row.label for row in sets.train.rows}
    if unknown:
        raise ValueError(
            "Every class of the synthetic images must occur among the training images. "
            f"Received {', '.join(sorted(unknown))} in {sets.synthetic.path} only."
        )


def _require_disjoint(sets: _Sets) -> None:
    """Held-out images must be held out, and the images that trained the generator be the ones compared with."""
    trained = {row.sha256 for row in sets.train.rows}
    groups = {row.group for row in sets.train.rows} - {""}
    leaked = [row for row in sets.validation.rows if row.sha256 in trained or row.group in groups]
    if leaked:
        raise ValueError(
            "Validation images must be held out: they say how near unknown patients come. Received "
            f"{len(leaked)} of {len(sets.validation)} that are training images or share a group with them, such as "
            f"{leaked[0].name}. Prepare the images again."
        )
    missing = {sha256 for sha256, _ in sets.synthetic.training_index()} - trained
    missing -= {row.sha256 for row in sets.validation.rows}
    if missing:
        raise ValueError(
            "`train` must hold the images that trained the generator, or copies of the others are not found. Received "
            f"{sets.train.path}, which lacks {len(missing)} of them. Audit against the image set that train_gan used."
        )


def _figures(found: "Audit") -> dict[str, Any]:
    """Values and floors by name; a floor that could not be measured is left out."""
    figures: dict[str, Any] = {row.measure: row.value for row in found.rows}
    figures |= {f"floor_{row.measure}": row.floor for row in found.rows if row.floor is not None}
    figures["kernel_distance_standard_error"] = found.kernel_standard_error
    figures["num_memorised"] = int(found.memorised.sum())
    return figures


def _write_tables(folder: Path, sets: _Sets, found: "Audit", summary: Mapping[str, Any]) -> None:
    measures = [asdict(row) for row in found.rows]
    text = json.dumps({**summary, "measures": measures}, indent=1, sort_keys=True, allow_nan=False)
    (folder / AUDIT).write_text(text + "\n", encoding="utf-8", newline="\n")
    _write_csv(folder / MEASURES, measures)
    nearest = found.nearest
    _write_csv(
        folder / NEAREST,
        [
            {
                "sha256": row.sha256,
                "label": row.label,
                "nearest_sha256": sets.train.rows[index].sha256,
                "nearest_label": sets.train.rows[index].label,
                "distance": round(distance, 4),
                "coarse_ratio": round(coarse, 6),
                "fine_ratio": round(fine, 6),
                "memorised": memorised,
            }
            for row, index, distance, coarse, fine, memorised in zip(
                sets.synthetic.rows,
                nearest.index.tolist(),
                nearest.distance.tolist(),
                nearest.coarse_ratio.tolist(),
                nearest.fine_ratio.tolist(),
                found.memorised.tolist(),
                strict=True,
            )
        ],
    )


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _write_history(
    folder: Path,
    inputs: Mapping[str, str | Path],
    sets: _Sets,
    found: "Audit",
    settings: Mapping[str, Any],
    figures: Mapping[str, Any],
    seconds: float,
) -> None:
    from regan.artifacts.history import write_step

    counts = {f"num_{name}": len(one) for name, one in vars(sets).items()}
    pairs = found.closest(_NUM_PAIRS)
    # A copy of a patient's image is a patient's image: only new pictures are shown in public.
    copied = bool(found.memorised[pairs].any())
    synthetic = {"nearest_synthetic": _sheet(sets.synthetic, pairs.tolist())}
    real = {"nearest_real": _sheet(sets.train, found.nearest.index[pairs].tolist())}
    write_step(
        folder,
        "audit_images",
        inputs,
        settings=settings,
        counts=counts,
        figures=figures,
        tables={"audit": [asdict(row) for row in found.rows]},
        thumbnails={} if copied else synthetic,
        private_thumbnails=real | (synthetic if copied else {}),
        seconds=seconds,
    )


def _sheet(images: "ImageSet", numbers: list[int]) -> "np.ndarray":
    import numpy as np

    from regan.artifacts.history import contact_sheet

    return contact_sheet(np.stack(list(images.images([images.rows[number] for number in numbers]))))
