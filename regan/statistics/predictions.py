"""Table of a classifier's predictions, and pairing of two tables by image."""

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from regan.common.errors import CorruptFileError, NoFilesError, WrongArtifactError

FILE = "predictions.csv"
COLUMNS = ("sha256", "group", "label", "probability", "predicted", "positive_class")


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions of one classifier for each image of a test set.

    Attributes:
        sha256: Pixel hash of each image, str `(n,)`, without repeats.
        group: Patient or duplicate group of each image, str `(n,)`, "" = no group.
        label: True label, bool `(n,)`, True for the positive class.
        probability: Probability of the positive class, float64 `(n,)`, 0 to 1.
        predicted: Decision at the classifier's threshold, bool `(n,)`, True for the positive class.
        positive_class: Name of the positive class, which sensitivity is about.
        negative_class: Name of the other class.

    Raises:
        ValueError: The columns differ in length or are empty, a probability is out of range, or an image is repeated.
    """

    sha256: np.ndarray
    group: np.ndarray
    label: np.ndarray
    probability: np.ndarray
    predicted: np.ndarray
    positive_class: str
    negative_class: str = "negative"

    def __post_init__(self) -> None:
        columns = (self.sha256, self.group, self.label, self.probability, self.predicted)
        if len({np.shape(column) for column in columns}) != 1 or np.ndim(self.sha256) != 1 or len(self.sha256) == 0:
            shapes = ", ".join(str(np.shape(column)) for column in columns)
            raise ValueError(
                f"Predictions need at least one image and columns of one length. Received shapes {shapes}."
            )
        if not np.all((self.probability >= 0) & (self.probability <= 1)):
            raise ValueError("Probabilities must be between 0 and 1. Received values outside, or NaN.")
        repeated = [sha256 for sha256, times in Counter(self.sha256.tolist()).items() if times > 1]
        if repeated:
            raise ValueError(
                "The prediction table contains an image more than once, but tables are joined by pixel hash. "
                f"Received {len(repeated)} repeated images, such as {repeated[0]}. "
                "Remove the duplicates from the test set."
            )

    def __len__(self) -> int:
        return len(self.sha256)

    @property
    def right(self) -> np.ndarray:
        """Whether the decision was correct, bool `(n,)`."""
        return np.asarray(self.predicted == self.label)

    @classmethod
    def read(cls, folder: str | Path) -> "Predictions":
        """Read `predictions.csv` in a folder of evaluate_classifier.

        Raises:
            NoFilesError: There is no such table.
            CorruptFileError: The table lacks a column, is empty, or has impossible values.
        """
        path = Path(folder) / FILE
        if not path.is_file():
            raise NoFilesError(f"No {FILE} found in {folder}. Pass a folder that evaluate_classifier wrote.")
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
            if missing:
                raise CorruptFileError(
                    f"{path} lacks columns. Missing: {', '.join(missing)}. Expected: {', '.join(COLUMNS)}."
                )
            rows = list(reader)
        try:
            return cls._from_rows(rows)
        except ValueError as error:
            raise CorruptFileError(f"{path}: {error}") from error

    def write(self, folder: str | Path) -> Path:
        """Write `predictions.csv`, with the names of classes in its columns, into a folder and return its path."""
        path = Path(folder) / FILE
        # Names instead of booleans, and the positive class in each row: the table can be read without its folder.
        names = np.array([self.negative_class, self.positive_class])
        labels, predicted = names[self.label.astype(int)], names[self.predicted.astype(int)]
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for row in zip(self.sha256, self.group, labels, self.probability.tolist(), predicted, strict=True):
                writer.writerow([*row, self.positive_class])
        return path

    @classmethod
    def _from_rows(cls, rows: list[dict[str, str]]) -> "Predictions":
        if not rows:
            raise ValueError("the table is empty. Evaluate the classifier again.")
        positive = _single({row["positive_class"] for row in rows}, "positive class")
        # A test set of one class names the other one nowhere; it is then called "negative".
        others = {row["label"] for row in rows} | {row["predicted"] for row in rows}
        negative = _single((others - {positive}) or {"negative"}, "other class in `label` and `predicted`")
        return cls(
            sha256=np.array([row["sha256"] for row in rows]),
            group=np.array([row["group"] for row in rows]),
            label=np.array([row["label"] == positive for row in rows]),
            probability=np.array([float(row["probability"]) for row in rows]),
            predicted=np.array([row["predicted"] == positive for row in rows]),
            positive_class=positive,
            negative_class=negative,
        )

    def _take(self, order: np.ndarray) -> "Predictions":
        return Predictions(
            self.sha256[order],
            self.group[order],
            self.label[order],
            self.probability[order],
            self.predicted[order],
            self.positive_class,
            self.negative_class,
        )


def pair_predictions(candidate: Predictions, reference: Predictions) -> tuple[Predictions, Predictions]:
    """Pair two tables by pixel hash, never by row order.

    Args:
        candidate: Predictions of one classifier.
        reference: Predictions of the other, on the same images in any order.

    Returns:
        Both tables with row i of each about the same image, in the order of the hashes.

    Raises:
        WrongArtifactError: They are not about the same images, or differ in the label or group of an image.
    """
    if candidate.positive_class != reference.positive_class:
        raise WrongArtifactError(
            "The two prediction tables have different positive classes. "
            f"Received {candidate.positive_class!r} and {reference.positive_class!r}."
        )
    only_candidate = np.setdiff1d(candidate.sha256, reference.sha256)
    only_reference = np.setdiff1d(reference.sha256, candidate.sha256)
    if only_candidate.size or only_reference.size:
        raise WrongArtifactError(
            "The two classifiers were not tested on the same images, which are paired by pixel hash. Received "
            f"{len(only_candidate)} images that only the candidate and {len(only_reference)} that only the reference "
            f"predicted, of {len(candidate)} and {len(reference)}. Evaluate both on the same image set."
        )
    first, second = (table._take(np.argsort(table.sha256, kind="stable")) for table in (candidate, reference))
    for name, one, other in (("label", first.label, second.label), ("group", first.group, second.group)):
        if np.any(one != other):
            raise WrongArtifactError(
                f"The two prediction tables differ in the {name} of {np.sum(one != other)} images, such as "
                f"{first.sha256[one != other][0]}. Evaluate both on the same image set."
            )
    return first, second


def _single(names: set[str], what: str) -> str:
    if len(names) != 1:
        raise ValueError(f"expected exactly one {what}. Received {', '.join(sorted(names))}.")
    return next(iter(names))
