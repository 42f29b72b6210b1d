"""A small study on disk with the history that the verbs write: their entries, real predictions, phantom images."""

from pathlib import Path

import numpy as np

from regan.artifacts.entries import (
    NEAREST_REAL,
    NEAREST_SYNTHETIC,
    SAMPLES,
    AuditImagesEntry,
    EvaluateClassifierEntry,
    FilterImagesEntry,
    GenerateImagesEntry,
    PrepareImagesEntry,
    SelectSnapshotEntry,
    TrainClassifierEntry,
    TrainGanEntry,
    kept_sheet,
    refused_sheet,
)
from regan.artifacts.entry import Curve, write_entry
from regan.artifacts.history import contact_sheet
from regan.artifacts.image_set import ImageSet, ImageSetWriter
from regan.artifacts.rows import (
    AcceptanceRow,
    AuditRow,
    DistanceRow,
    GroupedFile,
    RefusalReason,
    RefusedFile,
    SourcePlace,
    SplitRow,
)
from regan.preparation.phantom import phantom_image
from regan.statistics.delong import auc
from regan.statistics.predictions import Predictions
from tests.entries import sample

CLASSES = ("benign", "malignant")
GENERATOR = "9e" * 32
TRAINING_INDEX = (("5eedf00d" * 8, "patient-Mustermann"),)


def build_study(
    root: Path,
    *,
    classes: tuple[str, str] = CLASSES,
    teacher: float = 2.45,
    student: float = 1.95,
    control: float = 1.4,
    audit_verdict: str = "passed",
    num_test: int = 300,
    size: int = 32,
    per_sheet: int = 16,
    source: str = "incoming/archive.zip",
    refused_file: str = "IMG_0433.png",
    licence: str = "",
    num_copies: int = 0,
    per_class: int = 6,
) -> dict[str, Path]:
    """Folders of every step, by name; `teacher`, `student` and `control` are distances between the classes' scores."""
    study = {name: root / name for name in ("prepared", "run", "generator", "filtered", "unfiltered", "audit")}
    study |= {f"raw_{place}": root / f"raw_{place}" for place in range(2)}
    _prepare(study["prepared"], classes, size, per_sheet, source, refused_file)
    _train_gan(study["run"], study["prepared"], size, per_sheet, licence)
    _select(study["generator"], study["run"], study["prepared"])
    for place, label in enumerate(classes):
        _generate(study[f"raw_{place}"], study["generator"], label, _sheet(place, size, per_sheet, seed=3))
    test = draw_test_set(num_test)
    for role, power, images in (
        ("teacher", teacher, "prepared"),
        ("student", student, "filtered"),
        ("control", control, "unfiltered"),
    ):
        if images != "prepared":
            rule = "agreement" if role == "student" else "none"
            _filter(study[images], study, classes, size, per_sheet, rule, per_class)
        study[role], study[f"{role}_answers"] = root / role, root / f"{role}_answers"
        _train_classifier(study[role], study[images], study["prepared"], role)
        answer(study[f"{role}_answers"], study[role], study["prepared"], test, power, role, classes)
    _audit(study["audit"], study["filtered"], study["prepared"], size, audit_verdict, num_copies)
    return study


def draw_test_set(num_images: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels and the part of each score that all classifiers share: what makes an image easy or hard."""
    label = np.arange(num_images) % 2 == 1
    return label, np.random.default_rng(seed).normal(size=num_images)


def answer(
    folder: Path,
    classifier: Path | None,
    images: Path | None,
    test: tuple[np.ndarray, np.ndarray],
    power: float,
    role: str,
    classes: tuple[str, str] = CLASSES,
    threshold: float = 0.5,
) -> Predictions:
    """Write what one classifier answers; without `classifier` the folder has no history."""
    label, shared = test
    own = np.random.default_rng(sum(role.encode())).normal(size=len(label))
    logit = (label - 0.5) * power + 0.8 * shared + 0.6 * own
    probability = 1 / (1 + np.exp(-logit))
    predictions = Predictions(
        sha256=np.array([f"{i:064x}" for i in range(len(label))]),
        group=np.array([""] * len(label)),
        label=label,
        probability=probability,
        predicted=probability >= threshold,
        positive_class=classes[1],
        negative_class=classes[0],
    )
    folder.mkdir(parents=True)
    predictions.write(folder)
    if classifier is not None and images is not None:
        order = np.argsort(-probability)
        hits, alarms = np.cumsum(label[order]), np.cumsum(~label[order])
        entry = sample(
            EvaluateClassifierEntry,
            positive_class=classes[1],
            classes=classes,
            classifier="c0ffee" * 10 + "beef",
            num_images=len(label),
            auc=auc(label, probability),
            threshold=threshold,
            roc=Curve([0, *(alarms / alarms[-1])], [0, *(hits / hits[-1])], "false positive rate", "sensitivity"),
        )
        write_entry(folder, entry, {"classifier": classifier, "images": images}, seconds=4.2)
    return predictions


def _sheet(place: int, size: int, count: int, seed: int) -> np.ndarray:
    images = [phantom_image(CLASSES[place], i, size=size, seed=seed) for i in range(count)]
    return contact_sheet(np.stack(images)[..., np.newaxis])


def _prepare(folder: Path, classes: tuple[str, str], size: int, count: int, source: str, refused_file: str) -> None:
    folder.mkdir(parents=True)
    entry = sample(
        PrepareImagesEntry,
        size=size,
        channels=1,
        mask_pattern="*_mask*",
        negative_class=classes[0],
        positive_class=classes[1],
        num_refused=32,
        num_duplicates=11,
        num_label_conflicts=2,
        split=tuple(
            SplitRow(name, label, images, groups)
            for name, images, groups in (("train", 320, 301), ("validation", 36, 34), ("test", 150, 150))
            for label in classes
        ),
        refusal_reasons=(
            RefusalReason("not a picture", 2),
            RefusalReason("same picture under both classes", 2),
            RefusalReason("mask beside an image", 28),
        ),
        source=(SourcePlace(source),),
        refused=(RefusedFile(refused_file, "same picture under both classes", "also malignant"),),
        groups=(GroupedFile("g0123", classes[0], "train", "IMG_0001.png"),),
    )
    sheets = {label: _sheet(place, size, count, seed=1) for place, label in enumerate(classes)}
    write_entry(folder, entry, {}, private_thumbnails=sheets, seconds=21.4)


def _train_gan(folder: Path, images: Path, size: int, count: int, licence: str) -> None:
    rng, kimg = np.random.default_rng(1), np.linspace(0, 24, 240)

    def curve(values: np.ndarray, noise: float) -> Curve:
        return Curve(kimg, values + noise * rng.normal(size=len(kimg)), "kimg", "")

    folder.mkdir()
    entry = sample(
        TrainGanEntry,
        label="all",
        preset="demo",
        configuration={"optimizer": {"rate": 0.0025, "betas": [0.0, 0.99]}, "seed": 0}
        | ({"origin": {"licence": licence}} if licence else {}),
        kimg=24.0,
        images_per_second=118.0,
        num_parameters_generator=214_018,
        num_parameters_discriminator=238_401,
        generator_loss=curve(0.9 + 0.6 * np.exp(-kimg / 4), 0.08),
        discriminator_loss=curve(1.25 - 0.5 * np.exp(-kimg / 3), 0.06),
        r1=curve(0.08 + 0.3 * np.exp(-kimg / 2), 0.01),
        path_length=curve(0.2 + 0.1 * kimg / 24, 0.01),
        real_sign=curve(0.25 + 0.2 * kimg / 24, 0.05),
        fake_sign=curve(-0.3 - 0.1 * kimg / 24, 0.05),
    )
    sheets = {SAMPLES: _sheet(0, size, count, seed=2)}
    write_entry(folder, entry, {"images": images}, thumbnails=sheets, seconds=272.0)


def _select(folder: Path, run: Path, images: Path) -> None:
    kimg = np.arange(2.0, 25.0, 2.0)
    kernel = 0.9 * np.exp(-kimg / 5) + 0.035 + 0.004 * np.maximum(kimg - 20, 0)
    rows = [
        DistanceRow(
            kimg=float(k),
            kernel_distance=float(d),
            kernel_distance_standard_error=0.012,
            frechet_distance=float(14 * d + 1.6),
            num_images=640,
        )
        for k, d in zip(kimg, kernel)
    ]
    best = min(rows, key=lambda row: row.kernel_distance)
    folder.mkdir()
    entry = sample(
        SelectSnapshotEntry,
        extractor="radiomic",
        extractor_hash="ab" * 32,
        labels=CLASSES,
        kimg=best.kimg,
        kernel_distance=best.kernel_distance,
        frechet_distance=best.frechet_distance,
        floor_kernel_distance=0.0021,
        floor_frechet_distance=0.94,
        frechet_distance_at_floor=2.6,
        floor_num_images=320,
        distances=tuple(rows),
    )
    write_entry(folder, entry, {"run": run, "images": images}, seconds=31.0)


def _generate(folder: Path, generator: Path, label: str, sheet: np.ndarray) -> None:
    folder.mkdir()
    entry = sample(GenerateImagesEntry, label=label, seeds="1-3000", num_images=3000)
    write_entry(folder, entry, {"generator": generator}, thumbnails={label: sheet}, seconds=18.5)


def _filter(
    folder: Path,
    study: dict[str, Path],
    classes: tuple[str, str],
    size: int,
    count: int,
    rule: str,
    per_class: int,
) -> None:
    accepted = (1830, 1412) if rule == "agreement" else (3000, 3000)
    rows = [
        AcceptanceRow(label, offered=3000, accepted=n, kept=1412, acceptance=n / 3000, duplicates=0)
        for label, n in zip(classes, accepted)
    ]
    sheets = {kept_sheet(label): _sheet(place, size, count, seed=4) for place, label in enumerate(classes)}
    if rule != "none":
        sheets |= {refused_sheet(label): _sheet(1 - place, size, count, seed=5) for place, label in enumerate(classes)}
    folder.mkdir()
    _write_images(folder, classes, size, rule, per_class)
    inputs = {"negative": study["raw_0"], "positive": study["raw_1"], "classifier": study["teacher"]}
    entry = sample(FilterImagesEntry, rule=rule, classifier="", num_images=2824, acceptance=tuple(rows))
    write_entry(folder, entry, inputs, thumbnails=sheets, seconds=9.1)


def _write_images(folder: Path, classes: tuple[str, str], size: int, rule: str, per_class: int) -> None:
    settings = {"rule": rule, "made_with": {"classifier": "/hospital/Mustermann/teacher"}}
    with ImageSetWriter(
        folder,
        size=size,
        channels=1,
        classes=classes,
        origin="synthetic",
        settings=settings,
        training_index=TRAINING_INDEX,
    ) as writer:
        for place, label in enumerate(classes):
            for seed in range(1, per_class + 1):
                image = phantom_image(CLASSES[place], seed, size=size, seed=8)[..., np.newaxis]
                group = "patient-Mustermann" if seed == 1 else ""
                writer.add(image, label, generator=GENERATOR, seed=str(seed), psi="0.7", group=group)


def _train_classifier(folder: Path, images: Path, validation: Path, role: str) -> None:
    epochs = np.arange(1, 25)
    gap = {"teacher": 0.03, "student": 0.08, "control": 0.14}[role]

    def curve(values: np.ndarray) -> Curve:
        return Curve(epochs, values, "epoch", "")

    folder.mkdir()
    entry = sample(
        TrainClassifierEntry,
        first_weights={"licence": "Terms of ImageNet"},
        backbone="MobileNetV2",
        num_images=640 if role == "teacher" else 2824,
        validation_auc=1 - gap,
        num_epochs=24,
        training_loss=curve(0.65 * np.exp(-epochs / 9)),
        validation_loss=curve(0.68 * np.exp(-epochs / 9) + gap + 0.004 * epochs),
        validation_auc_curve=curve(1 - gap - 0.35 * np.exp(-epochs / 5)),
    )
    write_entry(folder, entry, {"images": images, "validation": validation}, seconds=64.0)


def _audit(folder: Path, synthetic: Path, real: Path, size: int, verdict: str, num_copies: int) -> None:
    share = num_copies / 2824 if verdict == "passed" else 0.034
    table = (
        AuditRow("kernel_distance", 0.041, 0.0021, None, None),
        AuditRow("frechet_distance", 2.31, 0.94, None, None),
        AuditRow("precision", 0.83, 0.91, None, None),
        AuditRow("recall", 0.71, 0.9, None, None),
        AuditRow("density", 0.88, 1.01, None, None),
        AuditRow("coverage", 0.79, 0.93, None, None),
        AuditRow("share_memorised", share, 0.0, 0.01, verdict == "passed"),
    )
    folder.mkdir()
    rows = [f"{row.sha256},{place < num_copies}" for place, row in enumerate(ImageSet.open(synthetic).rows)]
    (folder / "nearest.csv").write_text("\n".join(["sha256,memorised", *rows]) + "\n")
    (folder / "audit.json").write_text(f'{{"verdict": "{verdict}"}}\n')
    entry = sample(
        AuditImagesEntry,
        verdict=verdict,
        extractor="radiomic",
        num_compared=36,
        held_out="72 validation images and 40 training images left out in turn",
        num_memorised=num_copies if verdict == "passed" else 96,
        share_memorised=share,
        audit=table,
    )
    write_entry(
        folder,
        entry,
        {"synthetic": synthetic, "train": real, "validation": real},
        thumbnails={NEAREST_SYNTHETIC: _sheet(0, size, 8, seed=6)},
        private_thumbnails={NEAREST_REAL: _sheet(0, size, 8, seed=7)},
        seconds=44.0,
    )
