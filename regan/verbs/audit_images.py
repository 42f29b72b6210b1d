"""Audit synthetic images: fidelity, diversity and copies of training images."""

import csv
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from regan.common.errors import OverlapError, SettingError, WrongArtifactError

if TYPE_CHECKING:
    import numpy as np

    from regan.artifacts.image_set import ImageSet
    from regan.quality.audit import Audit

_LOG = logging.getLogger("regan")
AUDIT, MEASURES, NEAREST = "audit.json", "measures.csv", "nearest.csv"
FORMAT = 1
_NUM_PAIRS = 16  # closest pairs shown in the report


@dataclass(frozen=True)
class AuditedImages:
    """Result of `audit_images`. `audit.json` has the real-versus-real floor of every figure.

    Attributes:
        path: Folder with `audit.json`, `measures.csv`, `nearest.csv` and the history.
        verdict: `failed` if more images are memorised than allowed, otherwise `passed`.
        kernel_distance: To the training images; 0 on average for real images.
        frechet_distance: To the training images, at the number of held-out images.
        precision: Share of synthetic images within the manifold of real images, 0 to 1.
        recall: Share of training images within the manifold of synthetic images, 0 to 1.
        density: How densely synthetic images lie among training images; about 1 for real images.
        coverage: Share of training images with a synthetic image nearby, 0 to 1.
        num_memorised: Number of synthetic images that are copies of a training image.
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
    """Audit synthetic images: how close to real ones and how diverse they are, and whether they copy training images.

    Distances and coverage are reported with a floor: the same measure between training and validation images. The only
    limit is on copies. A synthetic image counts as memorised if its nearest training image, after mirroring and small
    shifts, is much nearer than training images are to held-out images: three interquartile ranges below the lower
    quartile of the held-out ratios, and below 3/4 of their median, at 32 x 32 or at full size.

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
        NoFilesError: An input is missing.
        OutputExistsError: `audit` is not empty.
        SettingError: A setting is out of range.
        WrongArtifactError: The image sets do not fit each other.
        OverlapError: Validation images overlap with training images.
    """
    started = time.monotonic()
    if not 0 <= max_memorised <= 1:
        raise SettingError(f"max_memorised={max_memorised} is out of range: use 0 to 1.")
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
    _LOG.info("Audit %s: %d of %d images are memorised", found.verdict, figures["num_memorised"], len(sets.synthetic))
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
        raise WrongArtifactError(
            "The image sets have different sizes or channels: "
            + ", ".join(f"{name} {size} pixels, {channels} channels" for name, (size, channels) in kinds.items())
            + ". Prepare the images again at the generator's size."
        )
    unknown = {row.label for row in sets.synthetic.rows} - {row.label for row in sets.train.rows}
    if unknown:
        raise WrongArtifactError(
            f"The synthetic images in {sets.synthetic.path} have classes that the training images lack: "
            f"{', '.join(sorted(unknown))}. Pass the images that trained the generator as `train`."
        )


def _require_disjoint(sets: _Sets) -> None:
    """Check that validation images did not train the generator, and that all of its training images are compared."""
    trained = {row.sha256 for row in sets.train.rows}
    groups = {row.group for row in sets.train.rows} - {""}
    leaked = [row for row in sets.validation.rows if row.sha256 in trained or row.group in groups]
    if leaked:
        raise OverlapError(
            f"Validation images overlap with training images ({len(leaked)} of {len(sets.validation)} images, such as "
            f"{leaked[0].name}): the audit needs held-out images. Prepare the images again."
        )
    # Without all of them the audit would pass a copy of an image that it was not given.
    missing = {sha256 for sha256, _ in sets.synthetic.training_index()} - trained
    missing -= {row.sha256 for row in sets.validation.rows}
    if missing:
        raise WrongArtifactError(
            f"{len(missing)} training images of the generator are missing in {sets.train.path}, so that copies of them "
            "would not be found. Pass the image set that train_gan used as `train`."
        )


def _figures(found: "Audit") -> dict[str, Any]:
    """Values and floors by name, without floors that could not be measured."""
    figures: dict[str, Any] = {row.measure: row.value for row in found.rows}
    figures |= {f"floor_{row.measure}": row.floor for row in found.rows if row.floor is not None}
    figures["kernel_distance_standard_error"] = found.kernel_standard_error
    # An `int`, since JSON has no NumPy numbers.
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
    from regan.artifacts.entries import NEAREST_REAL, NEAREST_SYNTHETIC, AuditImagesEntry
    from regan.artifacts.entry import keys_of, write_entry
    from regan.artifacts.rows import AuditRow

    own = keys_of(AuditImagesEntry, "figures")
    entry = AuditImagesEntry(
        **settings,
        num_synthetic=len(sets.synthetic),
        num_train=len(sets.train),
        num_validation=len(sets.validation),
        **{name: figures[key] for name, key in own.items()},
        measures={key: value for key, value in figures.items() if key not in own.values()},
        audit=tuple(AuditRow(**asdict(row)) for row in found.rows),
    )
    pairs = found.closest(_NUM_PAIRS)
    # A copy of a patient's image is private like that image.
    copied = bool(found.memorised[pairs].any())
    synthetic = {NEAREST_SYNTHETIC: _sheet(sets.synthetic, pairs.tolist())}
    real = {NEAREST_REAL: _sheet(sets.train, found.nearest.index[pairs].tolist())}
    write_entry(
        folder,
        entry,
        inputs,
        thumbnails={} if copied else synthetic,
        private_thumbnails=real | (synthetic if copied else {}),
        seconds=seconds,
    )


def _sheet(images: "ImageSet", numbers: list[int]) -> "np.ndarray":
    import numpy as np

    from regan.artifacts.history import contact_sheet

    return contact_sheet(np.stack(list(images.images([images.rows[number] for number in numbers]))))
