"""Filter synthetic images by a rule."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regan.common.errors import SettingError, TooFewImagesError, WrongArtifactError

if TYPE_CHECKING:
    import numpy as np

    from regan.artifacts.image_set import ImageRow, ImageSet
    from regan.classifier.prediction import Classifier
    from regan.common.progress import Progress

_SHEET_BYTES = 32_768  # of pixels in one contact sheet: four sheets fit into the 200 kB of a history step


@dataclass(frozen=True)
class FilteredImages:
    """Result of `filter_images`.

    Attributes:
        path: The image set.
        num_images: Number of images in it.
        per_class: Number of images of each class.
        acceptance_negative: Accepted share of the negative images, 0 to 1.
        acceptance_positive: Accepted share of the positive images, 0 to 1.
    """

    path: Path
    num_images: int
    per_class: int
    acceptance_negative: float
    acceptance_positive: float


@dataclass(frozen=True)
class _Candidates:
    """Candidate images of one class from several sets, and which are unique, accepted and kept; bool `(n,)` arrays."""

    label: str
    sets: "list[ImageSet]"
    unique: "np.ndarray" = field(repr=False)
    accepted: "np.ndarray" = field(repr=False)
    kept: "np.ndarray" = field(repr=False)

    def acceptance(self) -> float:
        return float(self.accepted.sum() / self.unique.sum())

    def rows(self, chosen: "np.ndarray") -> "list[tuple[ImageSet, list[ImageRow]]]":
        """The chosen rows of each set."""
        found, start = [], 0
        for image_set in self.sets:
            found.append((image_set, [row for i, row in enumerate(image_set.rows, start) if chosen[i]]))
            start += len(image_set)
        return found


def filter_images(
    negative: Sequence[str | Path] | str | Path,
    positive: Sequence[str | Path] | str | Path,
    classifier: str | Path,
    images: str | Path,
    *,
    rule: str = "agreement",
    confidence: float = 0.9,
    per_class: int = 0,
    seed: int = 0,
) -> FilteredImages:
    """Keep the synthetic images that a rule accepts, the same number of each class.

    Of images with the same pixels, only one is considered; an image that is in both classes is dropped.

    Args:
        negative: Image set of the negative class, or several from parallel steps.
        positive: Image set of the positive class, or several.
        classifier: Teacher that judges the images. Not read with `rule="none"`, and may then be empty.
        images: Folder to write.
        rule: Synthetic images that are kept: "agreement" = the teacher predicts the image's own class; "confidence" =
            with a minimum probability; "none" = every image, as for the control.
        confidence: Minimum probability of the image's own class under the rule "confidence", 0.5 to 1.
        per_class: Images of each class to keep, drawn at random from those that pass; 0 = as many as the rarer class
            has. More than there are is an error, because students are compared at equal numbers of images.
        seed: Seed of the classifiers' training and of the filter's draw of images.

    Returns:
        Path, number of images in total and per class, and the accepted share of each class.

    Raises:
        NoFilesError: An input is missing.
        OutputExistsError: `images` is not empty.
        SettingError: A setting is unknown or out of range.
        WrongArtifactError: The inputs do not fit each other.
        TooFewImagesError: Too few images were accepted.
    """
    from regan.artifacts.output_folder import atomic_folder
    from regan.classifier.filtering import NONE, images_per_class

    started = time.monotonic()
    _require_settings(rule, confidence, per_class)
    with atomic_folder(images) as folder:
        sets = _open_sets(negative, positive)
        teacher = None if rule == NONE else _load_teacher(classifier, sets)
        unique = _unique(sets)
        accepted = {
            label: _acceptance(
                sets[label], unique[label], teacher, positive=is_positive, rule=rule, confidence=confidence
            )
            for label, is_positive in zip(sets, (False, True))
        }
        number = images_per_class({label: int(marks.sum()) for label, marks in accepted.items()}, per_class)
        candidates = _candidates(sets, unique, accepted, number, seed)
        settings = {
            "rule": rule,
            "confidence": confidence,
            "per_class": per_class,
            "seed": seed,
            "classifier": teacher.hash if teacher else "",
        }
        _write_images(folder, candidates, settings)
        inputs = {"negative": negative, "positive": positive} | ({"classifier": classifier} if teacher else {})
        _write_history(folder, inputs, candidates, settings, time.monotonic() - started)
    return FilteredImages(Path(images), 2 * number, number, *(candidate.acceptance() for candidate in candidates))


def _require_settings(rule: str, confidence: float, per_class: int) -> None:
    from regan.classifier.filtering import RULES

    if rule not in RULES:
        raise SettingError(f"Unknown rule={rule!r}: use one of {', '.join(RULES)}.")
    if not 0.5 <= confidence <= 1:
        raise SettingError(
            f"confidence={confidence} is out of range: it is the minimum probability of an image's own class. Use 0.5 "
            "to 1."
        )
    if per_class < 0:
        raise SettingError(f"per_class={per_class} is negative: use 0 (as many as possible) or more.")


def _open_sets(
    negative: Sequence[str | Path] | str | Path, positive: Sequence[str | Path] | str | Path
) -> "dict[str, list[ImageSet]]":
    """The sets of each class, negative first."""
    from regan.artifacts.image_set import ImageSet
    from regan.classifier.checks import require_same_kind

    opened = {
        argument: [ImageSet.open(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
        for argument, paths in (("negative", negative), ("positive", positive))
    }
    for argument, sets in opened.items():
        if not sum(map(len, sets)):
            raise TooFewImagesError(f"No images in `{argument}`. Pass at least one image set that contains images.")
    numbered = {f"{argument}[{i}]": s for argument, sets in opened.items() for i, s in enumerate(sets)}
    require_same_kind(numbered)
    classes = opened["negative"][0].classes
    for name, image_set in numbered.items():
        label = classes[name.startswith("positive")]
        if image_set.counts[label] != len(image_set):
            raise WrongArtifactError(
                f"`{name}` contains images of other classes than {label!r}: {image_set.counts} in {image_set.path}. "
                f"Generate them with `label={label!r}`, and pass the negative class as `negative`."
            )
    return dict(zip(classes, opened.values()))


def _load_teacher(classifier: str | Path, sets: "dict[str, list[ImageSet]]") -> "Classifier":
    from regan.artifacts.model import read_model
    from regan.classifier.checks import require_kind_of_model
    from regan.classifier.prediction import Classifier

    model = read_model(classifier, "classifier")
    for argument, image_set in zip(("negative", "positive"), (s[0] for s in sets.values())):
        require_kind_of_model(image_set, argument, model["size"], model["channels"], model["classes"])
    return Classifier.load(classifier)


def _unique(sets: "dict[str, list[ImageSet]]") -> "dict[str, np.ndarray]":
    from regan.classifier.filtering import mark_first_occurrences

    hashes = {label: [row.sha256 for s in parts for row in s.rows] for label, parts in sets.items()}
    # An image that both classes have teaches nothing about their difference.
    in_both = frozenset.intersection(*(frozenset(values) for values in hashes.values()))
    return {label: mark_first_occurrences(values, in_both) for label, values in hashes.items()}


def _acceptance(
    sets: "list[ImageSet]",
    unique: "np.ndarray",
    teacher: "Classifier | None",
    *,
    positive: bool,
    rule: str,
    confidence: float,
) -> "np.ndarray":
    from regan.classifier.filtering import accept
    from regan.common.progress import Progress

    if teacher is None:
        return unique
    with Progress(f"Filter {teacher.classes[positive]}", len(unique)) as progress:
        probabilities = teacher.probabilities(_batches(sets, progress))
    agreed = accept(probabilities, positive=positive, rule=rule, threshold=teacher.threshold, confidence=confidence)
    return agreed & unique


def _batches(sets: "list[ImageSet]", progress: "Progress") -> Iterator["np.ndarray"]:
    for batch, rows in (item for image_set in sets for item in image_set.batches(256)):
        yield batch
        progress.advance(len(rows))


def _candidates(
    sets: "dict[str, list[ImageSet]]",
    unique: "dict[str, np.ndarray]",
    accepted: "dict[str, np.ndarray]",
    number: int,
    seed: int,
) -> list[_Candidates]:
    import numpy as np

    from regan.classifier.filtering import sample_accepted

    # One generator for both classes, negative first: the order of drawing is part of the result.
    random = np.random.default_rng(seed)
    candidates = []
    for label in sets:
        kept = np.zeros_like(accepted[label])
        kept[sample_accepted(accepted[label], number, random)] = True
        candidates.append(_Candidates(label, sets[label], unique[label], accepted[label], kept))
    return candidates


def _write_images(folder: Path, candidates: list[_Candidates], settings: dict[str, Any]) -> None:
    from regan.artifacts.image_set import ImageSetWriter

    first = candidates[0].sets[0]
    sources = [image_set for candidate in candidates for image_set in candidate.sets]
    made_with = [s for i, s in enumerate(x.settings for x in sources) if s not in [x.settings for x in sources[:i]]]
    total = sum(int(candidate.kept.sum()) for candidate in candidates)
    with ImageSetWriter(
        folder,
        size=first.size,
        channels=first.channels,
        classes=first.classes,
        origin="synthetic",
        settings=settings | {"made_with": made_with},
        training_index=set().union(*(image_set.training_index() for image_set in sources)),
        shard_images=max(1000, -(-total // ImageSetWriter.MAX_SHARDS)),
    ) as writer:
        for image_set, rows in (part for candidate in candidates for part in candidate.rows(candidate.kept)):
            for png, row in zip(image_set.pngs(rows), rows):
                writer.add_png(png, row)


def _write_history(
    folder: Path, inputs: dict[str, Any], candidates: list[_Candidates], settings: dict[str, Any], seconds: float
) -> None:
    from regan.artifacts.entries import FilterImagesEntry, kept_sheet, refused_sheet
    from regan.artifacts.entry import write_entry
    from regan.artifacts.rows import AcceptanceRow

    acceptance = tuple(
        AcceptanceRow(
            class_=candidate.label,
            offered=int(candidate.unique.sum()),
            accepted=int(candidate.accepted.sum()),
            kept=int(candidate.kept.sum()),
            acceptance=candidate.acceptance(),
            duplicates=int((~candidate.unique).sum()),
        )
        for candidate in candidates
    )
    entry = FilterImagesEntry(
        **settings,
        num_images=sum(row.kept for row in acceptance),
        kept_per_class=acceptance[0].kept,
        num_duplicates=sum(row.duplicates for row in acceptance),
        acceptances={f"acceptance_{row.class_}": row.acceptance for row in acceptance},
        acceptance=acceptance,
    )
    refused = {
        refused_sheet(candidate.label): _sheet(candidate, candidate.unique & ~candidate.accepted)
        for candidate in candidates
    }
    kept = {kept_sheet(candidate.label): _sheet(candidate, candidate.kept) for candidate in candidates}
    sheets = {name: sheet for name, sheet in (kept | refused).items() if sheet is not None}
    write_entry(folder, entry, inputs, thumbnails=sheets, seconds=seconds)


def _sheet(candidate: _Candidates, chosen: "np.ndarray") -> "np.ndarray | None":
    """A sheet of the first chosen images, at most 64 (grey) or 32 pixels wide; None where there is none."""
    import numpy as np

    from regan.artifacts.history import contact_sheet

    image_set = candidate.sets[0]
    side = min(image_set.size, 64 if image_set.channels == 1 else 32)
    most = _SHEET_BYTES // (side * side * image_set.channels)
    images: list[np.ndarray] = []
    for part, rows in candidate.rows(chosen):
        images.extend(_shrink(image, side) for image in part.images(rows[: most - len(images)]))
    return contact_sheet(np.stack(images)) if images else None


def _shrink(image: "np.ndarray", side: int) -> "np.ndarray":
    factor = image.shape[0] // side
    blocks = image.reshape(side, factor, side, factor, -1)
    return blocks.mean((1, 3)).round().astype(image.dtype)
