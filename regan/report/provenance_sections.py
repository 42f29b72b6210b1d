"""The parts of the report that show how the images and the classifiers were made, section by section."""

import base64
import logging
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from regan.artifacts.entries import (
    ENTRIES,
    NEAREST_REAL,
    NEAREST_SYNTHETIC,
    SAMPLES,
    FilterImagesEntry,
    GenerateImagesEntry,
    PrepareImagesEntry,
    SelectSnapshotEntry,
    TrainClassifierEntry,
    TrainGanEntry,
    kept_sheet,
    refused_sheet,
)
from regan.artifacts.entry import Curve
from regan.artifacts.history import Step
from regan.artifacts.rows import SplitRow
from regan.common.errors import CorruptFileError
from regan.common.text import UNKNOWN, duration, is_number
from regan.report import figures
from regan.report import formatting as fmt
from regan.report.figures import Distance
from regan.report.lineage import Lineage
from regan.report.redaction import LICENCES
from regan.report.results import trained_on

_LOG = logging.getLogger("regan")
_PNG = b"\x89PNG\r\n\x1a\n"
_Curves = tuple[tuple[str, Callable[[TrainGanEntry], Curve | None]], ...]  # name in the legend and curve
_GAN_PANELS: tuple[tuple[str, _Curves, str], ...] = (
    (
        "Losses",
        (("generator", lambda entry: entry.generator_loss), ("discriminator", lambda entry: entry.discriminator_loss)),
        "The two networks compete, so neither loss has to fall; a loss that keeps growing is a sign of divergence.",
    ),
    (
        "Discriminator outputs",
        (("real images", lambda entry: entry.real_sign), ("synthetic images", lambda entry: entry.fake_sign)),
        "From −1 (classified as synthetic) to +1 (as real). Lines that stay far apart are a sign of overfitting.",
    ),
    ("Gradient penalty (R1)", (("R1", lambda entry: entry.r1),), "How steep the discriminator is at real images."),
    (
        "Path length",
        (("path length", lambda entry: entry.path_length),),
        "How much the images change with a step in the latent space.",
    ),
)


class Svg(str):
    """SVG that this package drew, so that the page may take it as it is."""


@dataclass(frozen=True)
class Sheet:
    """A picture for the page: its source as a data URI (empty where there is none), size and texts.

    Attributes:
        caption: Text below it.
        note: One line on what it means, or on why it is missing.
        source: `data:image/png;base64,...`, or empty.
        width: Pixels.
        height: Pixels.
        alt: Alternative text.
    """

    caption: str
    note: str
    source: str = ""
    width: int = 0
    height: int = 0
    alt: str = ""


def sections(lineage: Lineage, *, private_left_out: bool) -> dict[str, Any]:
    """Everything below the verdict, by name of the section; `unreadable` has the steps that they leave out by verb."""
    shown = (*lineage.preparations, *lineage.runs, *lineage.selections)
    return {
        "unreadable": _unreadable(shown),
        "preparations": _preparations(lineage),
        "samples": _release_rows(lineage) if private_left_out else _samples(lineage),
        "acceptance": [row for entry in _filters(lineage) for row in entry.acceptance],
        "gans": [part for place, step in enumerate(lineage.runs) if (part := _gan(step, f"gan-{place}"))],
        "selections": [
            part for place, step in enumerate(lineage.selections) if (part := _selection(step, f"select-{place}"))
        ],
        "audit": _audit(lineage, private_left_out=private_left_out),
        "training": _training(lineage),
        "licences": licences((*lineage.making, *(step for arm in lineage.arms for step in arm.classifiers))),
    }


def provenance(steps: Mapping[str, Step], lineage: Lineage) -> dict[str, Any]:
    """The list of steps with inputs, settings, results and time of each, and the versions used."""
    ordered = sorted(steps.values(), key=lambda step: (step.number, step.id))
    places = {step.id: place for place, step in enumerate(ordered, start=1)}
    roles = _roles(lineage)
    rows = [
        {
            "place": places[step.id],
            "verb": step.verb,
            "title": fmt.VERBS.get(step.verb, step.verb),
            "id": step.id,
            "detail": _detail(step, roles.get(step.id, "")),
            "inputs": [
                {"argument": argument.replace("_", " "), "places": [places[name] for name in names if name in places]}
                for argument, names in step.inputs.items()
                if any(name in places for name in names)
            ],
            "seconds": step.seconds,
            "settings": fmt.flat(step.settings),
            "counts": [
                *step.counts.items(),
                *((k, v) for k, v in step.figures.items() if not isinstance(v, dict | list)),
            ],
        }
        for step in ordered
    ]
    known = [step.seconds for step in ordered if is_number(step.seconds)]
    return {"steps": rows, "seconds": sum(known), "versions": _versions(ordered)}


def licences(steps: Iterable[Step]) -> list[dict[str, str]]:
    """Licences of imported weights that are in the settings of the steps, each once."""
    found: dict[str, dict[str, str]] = {}
    for step in steps:
        for name, text in fmt.flat(step.settings):
            if name.split(".")[-1] in LICENCES and text != "not set":
                found.setdefault(text, {"licence": text, "step": fmt.VERBS.get(step.verb, step.verb)})
    return list(found.values())


def sheet(thumbnails: Mapping[str, bytes], name: str, caption: str, note: str, missing: str) -> Sheet:
    """The thumbnail `name` as a sheet; `missing` is shown where there is none."""
    png = thumbnails.get(name, b"")
    if not is_png(png):
        return Sheet(caption, missing if not png else "This picture in the history is corrupt.")
    width, height = struct.unpack(">II", png[16:24])
    source = "data:image/png;base64," + base64.b64encode(png).decode()
    return Sheet(caption, note, source, width, height, f"{caption}: a sheet of sample images")


def is_png(data: bytes) -> bool:
    """Whether the bytes start like a PNG file, with a size that a page can show."""
    if len(data) < 33 or not data.startswith(_PNG) or data[12:16] != b"IHDR":
        return False
    width, height = struct.unpack(">II", data[16:24])
    return 0 < width <= 4096 and 0 < height <= 4096


def _unreadable(steps: Iterable[Step]) -> dict[str, list[str]]:
    """Verb -> ids of its steps whose entry cannot be read."""
    found: dict[str, list[str]] = {verb: [] for verb in ENTRIES}
    for step in steps:
        try:
            ENTRIES[step.verb].of(step)
        except CorruptFileError:  # logged where the section leaves it out
            found[step.verb].append(step.id)
    return found


def _preparations(lineage: Lineage) -> list[dict[str, Any]]:
    entries: list[PrepareImagesEntry] = []
    for step in lineage.preparations:
        entry = PrepareImagesEntry.of_or_none(step)
        if entry and entry not in entries:  # each of the three sets has the step, and retries may have repeated it
            entries.append(entry)
    return [{"entry": entry, "split": _split(entry.split)} for entry in entries]


def _split(rows: Sequence[SplitRow]) -> dict[str, Any]:
    """Classes, and for each set its name and the row of each class (None where it has none)."""
    names = list(dict.fromkeys(row.class_ for row in rows))
    cells = {(row.set, row.class_): row for row in rows}
    sets = dict.fromkeys(row.set for row in rows)
    return {"classes": names, "lines": [(name, [cells.get((name, label)) for label in names]) for name in sets]}


def _samples(lineage: Lineage) -> list[dict[str, Any]]:
    if not lineage.candidate.synthetic and not lineage.generations:
        return []
    real = {name: png for step in lineage.preparations for name, png in step.private_thumbnails.items()}
    raw = {name: png for step in lineage.generations for name, png in step.thumbnails.items()}
    chosen = {name: png for step in _sample_filters(lineage) for name, png in step.thumbnails.items()}
    no_real = "The history contains no real images of this class."
    no_raw, no_kept = "The history contains no such images.", "The history contains no kept images."
    found = []
    for label in _labels(lineage):
        sheets = [
            sheet(real, label, "Real", "from the training set", no_real),
            sheet(raw, label, "Synthetic", "as generated, unfiltered", no_raw),
            sheet(chosen, kept_sheet(label), "Kept", "accepted by the filter", no_kept),
            sheet(chosen, refused_sheet(label), "Rejected", "by the filter", "None rejected, or none known."),
        ]
        found.append({"label": label, "sheets": sheets, "wide": any(one.width > 2 * one.height for one in sheets)})
    return found


def _release_rows(lineage: Lineage) -> list[dict[str, Any]]:
    """Only the sheets of the release: no other picture may leave the institution."""
    if not lineage.candidate.synthetic and not lineage.generations:
        return []
    pictures = lineage.release.thumbnails if lineage.release else {}
    missing = "No image of this class was released."
    found = []
    for label in _labels(lineage):
        one = sheet(pictures, label, "Synthetic", "the first images of the release", missing)
        found.append({"label": label, "sheets": [one], "wide": one.width > 2 * one.height})
    return found


def _labels(lineage: Lineage) -> list[str]:
    return [label for label in (lineage.comparison.negative_class, lineage.comparison.positive_class) if label]


def _sample_filters(lineage: Lineage) -> tuple[Step, ...]:
    return lineage.candidate.filter_steps or (lineage.control.filter_steps if lineage.control else ())


def _filters(lineage: Lineage) -> tuple[FilterImagesEntry, ...]:
    """What the steps of `_sample_filters` wrote."""
    arm = lineage.candidate if lineage.candidate.filter_steps else lineage.control
    return arm.filters if arm else ()


def _gan(step: Step, name: str) -> dict[str, Any] | None:
    entry, panels = TrainGanEntry.of_or_none(step), []
    if entry is None:
        return None
    for place, (title, curves, note) in enumerate(_GAN_PANELS):
        lines = _lines([(label, curve(entry)) for label, curve in curves])
        if lines:
            limits = (-1.05, 1.05) if title.startswith("Discriminator") else None
            drawn = figures.line_figure(
                lines, f"{name}-{place}", title=title, x_label="kimg (thousand images shown)", y_limits=limits
            )
            panels.append({"svg": Svg(drawn), "note": note})
    facts = [
        ("Training", f"{fmt.significant(entry.kimg)} kimg"),
        ("Speed", f"{fmt.significant(entry.images_per_second)} images/s"),
        ("Generator", fmt.plural(entry.num_parameters_generator, "parameter")),
        ("Discriminator", fmt.plural(entry.num_parameters_discriminator, "parameter")),
        ("Time", duration(step.seconds)),
    ]
    missing = "The history contains no samples."
    samples = sheet(step.thumbnails, SAMPLES, "Samples at the end of training", "", missing)
    return {"label": _label(entry.label), "panels": panels, "facts": facts, "samples": samples}


def _selection(step: Step, name: str) -> dict[str, Any] | None:
    entry = SelectSnapshotEntry.of_or_none(step)
    if entry is None:
        return None
    kernel = [Distance(row.kimg, row.kernel_distance, row.kernel_distance_standard_error) for row in entry.distances]
    frechet = [Distance(row.kimg, row.frechet_distance) for row in entry.distances]
    drawn = [
        figures.distance_figure(rows, f"{name}-{key}", title=title, kept=entry.kimg, floor=floor)
        for rows, key, title, floor in (
            (kernel, "kernel", "Kernel distance", entry.floor_kernel_distance),
            (frechet, "freche", "Fréchet distance", entry.floor_frechet_distance),
        )
        if rows
    ]
    sizes = sorted({row.num_images for row in entry.distances})
    facts = [
        ("Selected", f"the snapshot at {fmt.number(entry.kimg, 1)} kimg"),
        ("Features", entry.extractor),
        ("Images each", " to ".join(fmt.number(size) for size in sizes[:1] + sizes[1:][-1:]) or UNKNOWN),
    ]
    # At one number of images, since the Fréchet distance grows as they get fewer.
    if sizes and sizes[-1] >= entry.floor_num_images:
        own, floor = fmt.significant(entry.frechet_distance_at_floor), fmt.significant(entry.floor_frechet_distance)
        facts.append((f"Fréchet at {fmt.number(entry.floor_num_images)} images", f"{own}, floor {floor}"))
    panels = [Svg(one) for one in drawn]
    label = entry.labels[0] if len(entry.labels) == 1 else ""
    return {"label": label, "panels": panels, "rows": entry.distances, "kept": entry.kimg, "facts": facts}


def _audit(lineage: Lineage, *, private_left_out: bool) -> dict[str, Any] | None:
    step, entry, verdict = lineage.audit, lineage.audit_entry, lineage.audit_verdict
    if step is None:
        return None
    missing = "The history contains no such pictures."
    # The synthetic ones are private as well where some of them are copies.
    pictures = step.thumbnails | step.private_thumbnails
    pairs = [
        sheet(pictures, NEAREST_SYNTHETIC, "Synthetic", "those closest to a training image", missing),
        sheet(pictures, NEAREST_REAL, "Real", "the training image closest to each", missing),
    ]
    rows = [(_measure(row.measure), row) for row in entry.audit] if entry else []
    return {"verdict": verdict, "entry": entry, "rows": rows, "pairs": [] if private_left_out else pairs}


def _training(lineage: Lineage) -> dict[str, Any]:
    panels = []
    progress = [
        figures.Line(arm.name, *points, figures.COLORS[arm.role], figures.DASHES[arm.role])
        for arm in lineage.arms
        if arm.training and (points := figures.points(arm.training.validation_auc_curve))[0]
    ]
    if progress:
        drawn = figures.line_figure(progress, "training-auc", title="AUC on validation images", x_label="epoch")
        panels.append(Svg(drawn))
    for arm in lineage.arms:
        losses = (arm.training.training_loss, arm.training.validation_loss) if arm.training else ()
        if lines := _lines(list(zip(("training", "validation"), losses))):
            title = f"Loss of the {arm.name}"
            panels.append(Svg(figures.line_figure(lines, f"training-{arm.role}", title=title, x_label="epoch")))
    rows = [
        {
            "name": fmt.sentence_case(arm.name),
            "trained_on": trained_on(arm),
            "entry": arm.training,
            "seconds": arm.classifier.seconds,
        }
        for arm in lineage.arms
        if arm.classifier
    ]
    return {"panels": panels, "rows": rows}


def _lines(curves: Sequence[tuple[str, Curve | None]]) -> list[figures.Line]:
    found = []
    for place, (label, curve) in enumerate(curves):
        x, y = figures.points(curve)
        if x:
            found.append(figures.Line(label, x, y, figures.SERIES[place], figures.SERIES_DASHES[place]))
    return found


def _label(label: str) -> str:
    return "both classes" if label == "all" else label


def _measure(name: str) -> str:
    return fmt.sentence_case(name.replace("_", " ").replace("frechet", "Fréchet"))


def _roles(lineage: Lineage) -> dict[str, str]:
    """The classifier that a step belongs to, by the step's id; empty for steps that belong to several."""
    found: dict[str, str] = {}
    for arm in lineage.arms:
        own = [step for step in (arm.evaluation, *arm.classifiers, *arm.filter_steps) if step is not None]
        for step in own:
            found[step.id] = "" if step.id in found else arm.name
    return found


def _detail(step: Step, role: str) -> str:
    return ", ".join(text for text in (role, _detail_of(step)) if text)


def _detail_of(step: Step) -> str:
    """The one setting that sets a step apart from others of its verb; empty if it is not known."""
    try:
        match step.verb:
            case TrainGanEntry.verb | GenerateImagesEntry.verb:
                return _label(ENTRIES[step.verb].field(step, "label"))
            case TrainClassifierEntry.verb:
                return str(TrainClassifierEntry.field(step, "backbone"))
            case FilterImagesEntry.verb:
                rule = FilterImagesEntry.field(step, "rule")
                return "unfiltered" if rule == "none" else str(rule)
    except CorruptFileError as error:
        _LOG.warning("The report does not know one step's details. %s", error)
    return ""


def _versions(ordered: list[Step]) -> list[tuple[str, str]]:
    found: dict[str, list[str]] = {}
    for step in ordered:
        for name, version in step.versions.items():
            if version not in found.setdefault(name, []):
                found[name].append(version)
    return [(name, ", ".join(versions)) for name, versions in sorted(found.items())]
