"""The entry of each verb in the history: what the verb writes and the report reads.

A new field is `... | None`, because histories from before lack it. Names of sheets (thumbnails) are here too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from regan.artifacts.entry import (
    Count,
    Curve,
    Entry,
    Figure,
    OtherFigures,
    OtherSettings,
    Place,
    Plot,
    PrivateTable,
    Setting,
    Table,
)
from regan.artifacts.rows import (
    AcceptanceRow,
    AuditRow,
    ConfusionRow,
    DifferenceRow,
    DistanceRow,
    GroupedFile,
    MeasureRow,
    PairedTest,
    RefusalReason,
    RefusedFile,
    SourcePlace,
    SplitRow,
)

SAMPLES = "samples"  # sheet of a GAN's images at the end of training
NEAREST_SYNTHETIC, NEAREST_REAL = "nearest_synthetic", "nearest_real"  # sheets of the closest pairs


def kept_sheet(label: str) -> str:
    """Name of the sheet of the images of a class that a filter kept."""
    return f"kept_{label}"


def refused_sheet(label: str) -> str:
    """Name of the sheet of those that it refused."""
    return f"refused_{label}"


@dataclass(frozen=True)
class PrepareImagesEntry(Entry):
    """What `prepare_images` did. The last five figures are there where a split is saved from run to run."""

    verb: ClassVar[str] = "prepare_images"
    headline: ClassVar[tuple[str, ...]] = ("num_refused", "num_duplicates", "num_label_conflicts")

    size: Setting[int]
    channels: Setting[int]
    test_per_class: Setting[int]
    validation_fraction: Setting[float]
    mask_pattern: Setting[str]
    seed: Setting[int]
    negative_class: Setting[str]
    positive_class: Setting[str]
    train: Count[int]
    validation: Count[int]
    test: Count[int]
    num_refused: Figure[int]
    num_duplicates: Figure[int]
    num_label_conflicts: Figure[int]
    num_groups: Figure[int]
    num_groups_of_both_classes: Figure[int]
    num_enlarged: Figure[int]
    split: Table[SplitRow]
    refusal_reasons: Table[RefusalReason]
    source: PrivateTable[SourcePlace] = None
    refused: PrivateTable[RefusedFile] = None
    groups: PrivateTable[GroupedFile] = None
    split_version: Figure[int | None] = None
    num_known: Figure[int | None] = None
    num_new: Figure[int | None] = None
    num_gone: Figure[int | None] = None
    num_refused_by_saved_split: Annotated[int | None, Place("figures", "num_refused_by_kept_split")] = None  # old key


@dataclass(frozen=True)
class TrainGanEntry(Entry):
    """What `train_gan` did. Curves are over kimg; those that the configuration does not compute are missing."""

    verb: ClassVar[str] = "train_gan"
    headline: ClassVar[tuple[str, ...]] = ("kimg", "images_per_second")

    label: Setting[str]
    preset: Setting[str]
    keep_snapshots: Setting[int]
    configuration: OtherSettings  # `GanConfig.to_dict()`, and hashes and licence of the generator it started from
    num_snapshots: Count[int]
    kimg: Figure[float]
    images_per_second: Figure[float]
    num_parameters_generator: Figure[int]
    num_parameters_discriminator: Figure[int]
    generator_loss: Plot = None
    discriminator_loss: Plot = None
    r1: Plot = None
    path_length: Plot = None
    real_sign: Plot = None
    fake_sign: Plot = None
    augmentation_strength: Plot = None


@dataclass(frozen=True)
class SelectSnapshotEntry(Entry):
    """What `select_snapshot` did. The floor is the distance between two halves of the real images."""

    verb: ClassVar[str] = "select_snapshot"
    headline: ClassVar[tuple[str, ...]] = ("kimg", "kernel_distance", "frechet_distance")

    extractor: Setting[str]
    extractor_hash: Setting[str]
    num_images: Setting[int]
    truncation_psi: Setting[float]
    seed: Setting[int]
    labels: Setting[tuple[str, ...]]
    num_snapshots: Count[int]
    kimg: Figure[float]
    kernel_distance: Figure[float]
    frechet_distance: Figure[float]
    floor_kernel_distance: Figure[float]
    floor_frechet_distance: Figure[float]
    frechet_distance_at_floor: Figure[float]  # of the kept snapshot, at as many images as the floor
    floor_num_images: Figure[int]
    distances: Table[DistanceRow]


@dataclass(frozen=True)
class GenerateImagesEntry(Entry):
    """What `generate_images` did. The last four settings are written where they are not the default."""

    verb: ClassVar[str] = "generate_images"

    seeds: Setting[str]
    truncation_psi: Setting[float]
    label: Setting[str]
    generator_hash: Setting[str]
    num_images: Count[int]
    images_per_second: Figure[float]
    truncation_cutoff: Setting[int | None] = None
    noise: Setting[str | None] = None
    mixing_seeds: Setting[str | None] = None
    mixing_cut: Setting[int | None] = None


@dataclass(frozen=True)
class FilterImagesEntry(Entry):
    """What `filter_images` did."""

    verb: ClassVar[str] = "filter_images"

    rule: Setting[str]
    confidence: Setting[float]
    per_class: Setting[int]
    seed: Setting[int]
    classifier: Setting[str]  # hash of the teacher; empty where the rule asks none
    num_images: Count[int]
    kept_per_class: Annotated[int, Place("counts", "per_class")]
    num_duplicates: Figure[int]
    acceptances: OtherFigures  # `acceptance_<class>` for each class
    acceptance: Table[AcceptanceRow]


@dataclass(frozen=True)
class TrainClassifierEntry(Entry):
    """What `train_classifier` did. Curves are over epochs."""

    verb: ClassVar[str] = "train_classifier"
    headline: ClassVar[tuple[str, ...]] = ("validation_auc", "num_epochs", "num_images")

    backbone: Setting[str]
    configuration: Setting[Mapping[str, Any]]
    first_weights: Setting[Mapping[str, Any]]
    learning_rate: Setting[float]
    recipe: Setting[Mapping[str, Any]]
    epochs: Setting[int]
    batch_size: Setting[int]
    seed: Setting[int]
    num_images: Count[int]
    num_validation: Count[int]
    validation_auc: Figure[float]
    threshold: Figure[float]
    num_epochs: Figure[int]
    num_images_figure: Annotated[int, Place("figures", "num_images")]  # the same, for the page on how a run ended
    training_loss: Plot
    validation_loss: Plot
    validation_auc_curve: Annotated[Curve | None, Place("curves", "validation_auc")]


@dataclass(frozen=True)
class EvaluateClassifierEntry(Entry):
    """What `evaluate_classifier` found."""

    verb: ClassVar[str] = "evaluate_classifier"
    headline: ClassVar[tuple[str, ...]] = ("auc", "accuracy", "sensitivity", "specificity")

    positive_class: Setting[str]
    classes: Setting[tuple[str, ...]]
    classifier: Setting[str]  # its hash
    num_images: Count[int]
    auc: Figure[float]
    accuracy: Figure[float]
    sensitivity: Figure[float]
    specificity: Figure[float]
    true_positive: Figure[int]
    false_negative: Figure[int]
    true_negative: Figure[int]
    false_positive: Figure[int]
    threshold: Figure[float]
    brier: Figure[float]
    roc: Plot


@dataclass(frozen=True)
class AuditImagesEntry(Entry):
    """What `audit_images` found. A floor is missing where too few real images were held out."""

    verb: ClassVar[str] = "audit_images"
    headline: ClassVar[tuple[str, ...]] = ("num_memorised", "precision", "recall", "coverage")

    extractor: Setting[str]
    extractor_hash: Setting[str]
    max_memorised: Setting[float]
    seed: Setting[int]
    verdict: Setting[str]
    held_out: Setting[str]
    cut: Setting[Mapping[str, Any]]
    num_compared: Setting[int]
    num_synthetic: Count[int]
    num_train: Count[int]
    num_validation: Count[int]
    precision: Figure[float]
    recall: Figure[float]
    coverage: Figure[float]
    num_memorised: Figure[int]
    share_memorised: Figure[float]
    measures: OtherFigures  # the other rows of the table by name, `floor_<measure>`, and a standard error
    audit: Table[AuditRow]


@dataclass(frozen=True)
class CompareClassifiersEntry(Entry):
    """What `compare_classifiers` found. The last four settings speak of one place's patients: a release lacks them."""

    verb: ClassVar[str] = "compare_classifiers"
    headline: ClassVar[tuple[str, ...]] = ("difference", "lower", "upper")

    endpoint: Setting[str]
    margin: Setting[float]
    verdict: Setting[str]
    sentence: Setting[str]
    unit: Setting[str]
    positive_class: Setting[str]
    negative_class: Setting[str]
    names: Setting[Mapping[str, Any]]
    notes: Setting[tuple[str, ...]]
    num_images: Count[int]
    num_positive: Count[int]
    num_negative: Count[int]
    num_units: Count[int]
    difference: Figure[float]
    lower: Figure[float]
    upper: Figure[float]
    p: Figure[float]
    p_noninferiority: Figure[float]
    tests: Table[PairedTest]
    differences: Table[DifferenceRow]
    measures: Table[MeasureRow]
    confusion: Table[ConfusionRow]
    test_set: Setting[str | None] = None
    run_key: Setting[str | None] = None
    data_version: Setting[str | None] = None
    previous_verdict: Annotated[Mapping[str, Any] | None, Place("settings", "last_verdict")] = None  # {}: there is none


@dataclass(frozen=True)
class PublishImagesEntry(Entry):
    """What `publish_images` did."""

    verb: ClassVar[str] = "publish_images"

    title: Setting[str]
    release_uri: Setting[str]
    num_images: Count[int]
    num_copies_left_out: Count[int]
    generators_kept: Setting[Mapping[str, Any] | None] = None


@dataclass(frozen=True)
class ImportNvidiaEntry(Entry):
    """What `import_nvidia` read."""

    verb: ClassVar[str] = "import_nvidia"

    licence: Setting[str]
    origin: Setting[Mapping[str, Any]]
    notes: Setting[tuple[str, ...]]
    configuration: OtherSettings  # `GanConfig.to_dict()`


@dataclass(frozen=True)
class PreflightEntry(Entry):
    """What the preflight found."""

    verb: ClassVar[str] = "preflight"

    go: Setting[str]
    data_version: Setting[str]
    run_key: Setting[str]
    checkpoint_uri: Setting[str]
    sentence: Setting[str]
    images: Count[int | None] = None
    bytes: Figure[int | None] = None


ENTRIES: Mapping[str, type[Entry]] = {
    entry.verb: entry
    for entry in (
        PrepareImagesEntry,
        TrainGanEntry,
        SelectSnapshotEntry,
        GenerateImagesEntry,
        FilterImagesEntry,
        TrainClassifierEntry,
        EvaluateClassifierEntry,
        AuditImagesEntry,
        CompareClassifiersEntry,
        PublishImagesEntry,
        ImportNvidiaEntry,
        PreflightEntry,
    )
}
