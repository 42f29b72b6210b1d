"""Rows of the tables of the history, one dataclass a table; their fields are the keys of the file."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SplitRow:
    """How many images and groups of one class are in one set."""

    set: str
    class_: str
    images: int
    groups: int


@dataclass(frozen=True)
class RefusalReason:
    """How many files were refused for one reason."""

    reason: str
    files: int


@dataclass(frozen=True)
class RefusedFile:
    """One refused file; its name may name a patient."""

    file: str
    reason: str
    detail: str


@dataclass(frozen=True)
class GroupedFile:
    """One file of a group of duplicates or near duplicates."""

    group: str
    class_: str
    set: str
    file: str


@dataclass(frozen=True)
class SourcePlace:
    """Where the images and the saved split came from; paths may name patients."""

    source: str
    split_uri: str | None = None


@dataclass(frozen=True)
class DistanceRow:
    """Distances of one snapshot to the real images."""

    kimg: float
    kernel_distance: float
    kernel_distance_standard_error: float
    frechet_distance: float
    num_images: int


@dataclass(frozen=True)
class AcceptanceRow:
    """What became of the images of one class that a filter was offered; `acceptance` is a share from 0 to 1."""

    class_: str
    offered: int
    accepted: int
    kept: int
    acceptance: float
    duplicates: int


@dataclass(frozen=True)
class AuditRow:
    """One measure of an audit; see `regan.quality.audit.Row`."""

    measure: str
    value: float
    floor: float | None
    limit: float | None
    passed: bool | None


@dataclass(frozen=True)
class PairedTest:
    """One paired test: difference of two classifiers, its 95 % interval and p."""

    comparison: str
    name: str
    value: float
    lower: float
    upper: float
    p: float
    method: str


@dataclass(frozen=True)
class DifferenceRow:
    """The difference of two classifiers at one endpoint, with its 95 % interval."""

    comparison: str
    endpoint: str
    value: float
    lower: float
    upper: float
    outcome: str


@dataclass(frozen=True)
class MeasureRow:
    """One measure of one classifier alone; the Brier score has no interval."""

    classifier: str
    measure: str
    value: float
    lower: float | None
    upper: float | None


@dataclass(frozen=True)
class ConfusionRow:
    """The four counts of one classifier."""

    classifier: str
    true_positive: int
    false_negative: int
    true_negative: int
    false_positive: int
