"""Select the snapshot of a run whose images are closest to the real ones."""

import csv
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from regan.artifacts.image_set import ImageSet
    from regan.quality.snapshots import Features, SnapshotMeasure

_LOG = logging.getLogger("regan")
DISTANCES = "distances.csv"
_NUM_SPLITS = 10  # random splits of the real images into halves, averaged, since one alone varies too much


@dataclass(frozen=True)
class SelectedSnapshot:
    """Result of `select_snapshot`.

    Attributes:
        path: The generator.
        kimg: Thousands of real images that it was trained on.
        kernel_distance: Its kernel distance to the real images.
        frechet_distance: Its Fréchet distance to the real images.
    """

    path: Path
    kimg: float
    kernel_distance: float
    frechet_distance: float


def select_snapshot(
    run: str | Path,
    images: str | Path,
    generator: str | Path,
    *,
    features: str = "radiomic",
    num_images: int = 2_000,
    truncation_psi: float = 1.6,
    seed: int = 0,
) -> SelectedSnapshot:
    """Select the snapshot whose images are closest to the real ones.

    Every snapshot generates images from the same seeds at the psi of the release. They are compared with the real
    images of their own class, and the distances of the classes are averaged, so that swapped classes are detected. The
    snapshot with the smallest kernel distance is selected; the Fréchet distance is reported with it.

    Args:
        run: Training run with its snapshots.
        images: Real images, usually those that trained the run, never those that test the classifiers.
        generator: Folder to write: the selected snapshot and `distances.csv`.
        features: Feature extractor of the distances that select the snapshot: "radiomic", a keras.applications network,
            or the folder of a classifier.
        num_images: Synthetic images per snapshot for these distances, equally many of each class.
        truncation_psi: Truncation psi, the spread of the styles: 0 = the average image, 1 = as trained, above 1 = more
            varied. Use the psi of the images that will be released.
        seed: First latent seed.

    Returns:
        The selected snapshot and its distances.

    Raises:
        NoFilesError: The run or its snapshots are missing.
        OutputExistsError: `generator` is not empty.
        SettingError: A setting is out of range.
        WrongArtifactError: The images have another size or other channels than the run.
        TooFewImagesError: There are too few real images of a class.
    """
    started = time.monotonic()
    _require_settings(num_images, truncation_psi, seed)
    from regan.artifacts.image_set import ImageSet
    from regan.artifacts.output_folder import atomic_folder, require_empty_output
    from regan.quality.extractors import feature_extractor
    from regan.quality.snapshots import SnapshotMeasure

    require_empty_output(Path(generator))
    image_set = ImageSet.open(images)
    paths, labels = _open_run(run, image_set)
    extractor = feature_extractor(features)
    measure = SnapshotMeasure(image_set, labels, extractor, seed=seed)
    sample = _Sample(labels, num_images // len(labels), truncation_psi, seed)
    rows, best, kept = _measure_all(paths, measure, sample)
    settings = {
        "extractor": extractor.name,
        "extractor_hash": extractor.hash,
        "num_images": num_images,
        "truncation_psi": truncation_psi,
        "seed": seed,
        "labels": labels,
    }
    figures = {name: rows[best][name] for name in ("kimg", "kernel_distance", "frechet_distance")}
    with atomic_folder(generator) as folder:
        _write_distances(folder / DISTANCES, rows, best)
        _copy_snapshot(paths[best], folder, image_set, labels, {"selected": rows[best] | settings})
        _write_history(
            folder,
            {"run": run, "images": images},
            settings,
            figures | _floor(measure.real, kept, seed),
            rows,
            time.monotonic() - started,
        )
    _LOG.info("Selected the snapshot at %g kimg: kernel distance %.4g", figures["kimg"], figures["kernel_distance"])
    return SelectedSnapshot(path=Path(generator), **figures)


@dataclass(frozen=True)
class _Sample:
    """The synthetic images that every snapshot is measured on."""

    labels: tuple[str, ...]
    per_class: int
    truncation_psi: float
    seed: int


def _require_settings(num_images: int, truncation_psi: float, seed: int) -> None:
    from regan.common.errors import SettingError
    from regan.quality.distances import LEAST_IMAGES

    if num_images < 2 * LEAST_IMAGES:
        raise SettingError(f"num_images={num_images} is too small: use {2 * LEAST_IMAGES} or more.")
    if not 0 <= truncation_psi <= 10:
        raise SettingError(f"truncation_psi={truncation_psi} is out of range: use 0 to 10.")
    if seed < 0:
        raise SettingError(f"seed={seed} is negative: the first latent seed must be 0 or more.")


def _open_run(run: str | Path, images: "ImageSet") -> tuple[list[Path], tuple[str, ...]]:
    """Snapshots of the run and the classes that it generates."""
    from regan.artifacts.model import read_model
    from regan.common.errors import NoFilesError, WrongArtifactError
    from regan.quality.snapshots import require_images

    model = read_model(run, "run")
    if (model["size"], model["channels"]) != (images.size, images.channels):
        raise WrongArtifactError(
            f"The real images do not fit the run: {images.path} has {images.size} pixels and {images.channels} "
            f"channels, the run {model['size']} and {model['channels']}. Pass the images that trained the run."
        )
    labels = tuple(model["labels"])
    require_images(images, labels)
    from regan.gan.sampling import snapshots

    paths = snapshots(run)
    if not paths:
        raise NoFilesError(f"No snapshots in {run}. Run train_gan again.")
    return paths, labels


def _measure_all(
    paths: list[Path], measure: "SnapshotMeasure", sample: _Sample
) -> tuple[list[dict[str, Any]], int, "Features"]:
    """A row of distances for each snapshot, the index of the best one, and its synthetic features."""
    from regan.common.progress import Progress
    from regan.gan.sampling import Generator

    rows: list[dict[str, Any]] = []
    best, kept = 0, measure.real
    seeds = range(sample.seed, sample.seed + sample.per_class)
    with Progress("Measure snapshots", len(paths) * sample.per_class * len(sample.labels)) as progress:
        for path in paths:
            generator = Generator.load(path)

            def generated(label: str, generator: Generator = generator) -> Iterator["np.ndarray"]:
                for batch in generator.images(seeds, label, sample.truncation_psi):
                    yield batch
                    progress.advance(len(batch), kimg=generator.kimg)

            row, synthetic = measure(generated)
            rows.append({"kimg": generator.kimg} | row)
            # Of equal distances the later snapshot wins: it has trained longer.
            if rows[-1]["kernel_distance"] <= rows[best]["kernel_distance"]:
                best, kept = len(rows) - 1, synthetic
    return rows, best, kept


def _floor(real: "Features", synthetic: "Features", seed: int) -> dict[str, float]:
    """Distances between two halves of the real images, and of the selected snapshot at the same number of images."""
    import numpy as np

    from regan.quality.distances import random_halves
    from regan.quality.frechet import Moments, frechet_distance
    from regan.quality.kernel import polynomial_mmd

    kernel, frechet, beside = [], [], []
    for split in range(_NUM_SPLITS):
        for label, values in real.items():
            first, second = random_halves(values, seed=seed + split)
            # As many as the second half: the Fréchet distance grows as images get fewer.
            other = random_halves(synthetic[label], seed=seed + split)[0][: len(second)]
            moments = Moments.from_features(first)
            kernel.append(polynomial_mmd(first, second))
            frechet.append(frechet_distance(moments, Moments.from_features(second)))
            beside.append(frechet_distance(moments, Moments.from_features(other)))
    return {
        "floor_kernel_distance": float(np.mean(kernel)),
        "floor_frechet_distance": float(np.mean(frechet)),
        "frechet_distance_at_floor": float(np.mean(beside)),
        "floor_num_images": sum(len(values) // 2 for values in real.values()),
    }


def _write_distances(path: Path, rows: list[dict[str, Any]], best: int) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*rows[0], "kept"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(row | {"kept": number == best} for number, row in enumerate(rows))


def _copy_snapshot(
    snapshot: Path, folder: Path, images: "ImageSet", labels: tuple[str, ...], about: Mapping[str, Any]
) -> None:
    from regan.artifacts.model import read_model, read_training_index, read_weights, write_model

    own = ("kind", "format", "versions", "discriminator")  # `write_model` writes its own, and no discriminator
    metadata = {name: value for name, value in read_model(snapshot, "generator").items() if name not in own}
    chosen_by = {(row.sha256, row.group) for label in labels for row in images.with_label(label)}
    write_model(
        folder,
        kind="generator",
        weights=read_weights(snapshot),
        metadata={**metadata, **about},
        training_index=read_training_index(snapshot) | chosen_by | images.training_index(),
    )


def _write_history(
    folder: Path,
    inputs: Mapping[str, str | Path],
    settings: Mapping[str, Any],
    figures: Mapping[str, Any],
    rows: list[dict[str, Any]],
    seconds: float,
) -> None:
    from regan.artifacts.entries import SelectSnapshotEntry
    from regan.artifacts.entry import write_entry
    from regan.artifacts.rows import DistanceRow

    columns = [one.name for one in fields(DistanceRow)]  # a row has the distances of each class, too
    entry = SelectSnapshotEntry(
        **settings,
        num_snapshots=len(rows),
        **figures,
        distances=tuple(DistanceRow(**{column: row[column] for column in columns}) for row in rows),
    )
    write_entry(folder, entry, inputs, seconds=seconds)
