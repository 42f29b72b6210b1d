"""The parts of the report that tell how the images and the classifiers were made, section by section."""

import base64
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from regan.artifacts.history import Step
from regan.common.text import UNKNOWN, duration, is_number
from regan.report import figures
from regan.report import formatting as fmt
from regan.report.lineage import Arm, Lineage
from regan.report.results import learned_from

_PNG = b"\x89PNG\r\n\x1a\n"
_GAN_PANELS = (
    (
        "Losses",
        (("generator_loss", "generator"), ("discriminator_loss", "discriminator")),
        "The two networks compete, so neither loss has to fall; one that runs away tells of a failure.",
    ),
    (
        "Discriminator's answers",
        (("real_sign", "real images"), ("fake_sign", "synthetic images")),
        "From −1 (taken for synthetic) to +1 (taken for real). Lines that part for good tell of learning by heart.",
    ),
    ("Gradient penalty (R1)", (("r1", "R1"),), "How sharply the discriminator reacts near real images."),
    ("Path length", (("path_length", "path length"),), "How evenly the images change with the latent code."),
)


class Svg(str):
    """SVG that this package drew, so that the page may take it as it is."""


@dataclass(frozen=True)
class Sheet:
    """A picture for the page: its source as a data URI (empty where there is none), size and words.

    Attributes:
        caption: What stands below it.
        note: One line on what it means, or on why it is missing.
        source: `data:image/png;base64,...`, or nothing.
        width: Pixels.
        height: Pixels.
        alt: What it shows, for those who cannot see it.
    """

    caption: str
    note: str
    source: str = ""
    width: int = 0
    height: int = 0
    alt: str = ""


def sections(lineage: Lineage, *, private_left_out: bool) -> dict[str, Any]:
    """Everything below the verdict, by name of the section."""
    return {
        "preparations": _preparations(lineage),
        "samples": _released(lineage) if private_left_out else _samples(lineage),
        "acceptance": [row for step in _sample_filters(lineage) for row in step.tables.get("acceptance", [])],
        "gans": [_gan(step, f"gan-{place}") for place, step in enumerate(lineage.runs)],
        "selections": [_selection(step, f"select-{place}") for place, step in enumerate(lineage.selections)],
        "audit": _audit(lineage.audit, private_left_out=private_left_out) if lineage.audit else None,
        "training": _training(lineage),
        "licences": licences((*lineage.making, *(step for arm in lineage.arms for step in arm.classifiers))),
    }


def provenance(steps: Mapping[str, Step], lineage: Lineage) -> dict[str, Any]:
    """The list of steps with what each took, its settings, the time it took, and the versions used."""
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
    """Licences of imported weights that the settings of some steps name, each once."""
    found: dict[str, dict[str, str]] = {}
    for step in steps:
        for name, text in fmt.flat(step.settings):
            if (
                name.split(".")[-1] in ("license", "licence", "weights_license", "weights_licence")
                and text != "not set"
            ):
                found.setdefault(text, {"licence": text, "step": fmt.VERBS.get(step.verb, step.verb)})
    return list(found.values())


def sheet(thumbnails: Mapping[str, bytes], name: str, caption: str, note: str, missing: str) -> Sheet:
    """The thumbnail `name` as a sheet; where it is missing, or no PNG, `missing` says so in its place."""
    png = thumbnails.get(name, b"")
    if not is_png(png):
        return Sheet(caption, missing if not png else "This picture of the history cannot be read.")
    width, height = struct.unpack(">II", png[16:24])
    source = "data:image/png;base64," + base64.b64encode(png).decode()
    return Sheet(caption, note, source, width, height, f"{caption}: a sheet of sample images")


def is_png(data: bytes) -> bool:
    """Whether the bytes begin as a PNG file does, with a size that a page can show."""
    if len(data) < 33 or not data.startswith(_PNG) or data[12:16] != b"IHDR":
        return False
    width, height = struct.unpack(">II", data[16:24])
    return 0 < width <= 4096 and 0 < height <= 4096


def _preparations(lineage: Lineage) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for step in lineage.preparations:
        told = {
            "split": _split(step.tables.get("split", [])),
            "reasons": step.tables.get("refusal_reasons", []),
            "refused": step.private_tables.get("refused", []),
            "groups": step.private_tables.get("groups", []),
            "num_refused": _figure(step, "num_refused"),
            "num_duplicates": _figure(step, "num_duplicates"),
            "num_label_conflicts": _figure(step, "num_label_conflicts"),
            "kept": _kept_split(step),
        }
        if told not in found:
            found.append(told)
    return found


def _kept_split(step: Step) -> dict[str, Any] | None:
    """What the split of earlier runs settled; None where each run splits anew."""
    if _figure(step, "split_version") is None:
        return None
    names = {"num_known": "num_known", "num_new": "num_new", "num_gone": "num_gone"}
    names |= {"num_refused": "num_refused_by_kept_split", "version": "split_version"}
    return {name: _figure(step, figure) for name, figure in names.items()}


def _split(rows: list[dict[str, Any]]) -> dict[str, Any]:
    names = list(dict.fromkeys(str(row.get("class")) for row in rows))
    sets = dict.fromkeys(str(row.get("set")) for row in rows)
    cells = {(str(row.get("set")), str(row.get("class"))): row for row in rows}
    lines = [(name, [cells.get((name, label), {}) for label in names]) for name in sets]
    return {
        "classes": names,
        "lines": lines,
        "has_groups": any(is_number(row.get("groups")) for row in rows),
    }


def _samples(lineage: Lineage) -> list[dict[str, Any]]:
    if not lineage.candidate.synthetic and not lineage.generations:
        return []
    real = {name: png for step in lineage.preparations for name, png in step.private_thumbnails.items()}
    raw = {name: png for step in lineage.generations for name, png in step.thumbnails.items()}
    chosen = {name: png for step in _sample_filters(lineage) for name, png in step.thumbnails.items()}
    no_real = "The history holds no real images of this class."
    found = []
    for label in _labels(lineage):
        sheets = [
            sheet(real, label, "Real", "from the training set", no_real),
            sheet(raw, label, "Synthetic", "as generated, before any choice", "The history holds no such images."),
            sheet(chosen, f"kept_{label}", "Kept", "what the filter let pass", "The history holds no kept images."),
            sheet(chosen, f"refused_{label}", "Refused", "what the filter threw away", "None refused, or none known."),
        ]
        found.append({"label": label, "sheets": sheets, "wide": any(one.width > 2 * one.height for one in sheets)})
    return found


def _released(lineage: Lineage) -> list[dict[str, Any]]:
    """Sheets of the release alone: no other picture may leave the institution."""
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
    settings = lineage.compare.settings
    return [str(settings.get(key)) for key in ("negative_class", "positive_class") if settings.get(key)]


def _sample_filters(lineage: Lineage) -> tuple[Step, ...]:
    return lineage.candidate.filters or (lineage.control.filters if lineage.control else ())


def _gan(step: Step, name: str) -> dict[str, Any]:
    panels = []
    for place, (title, curves, note) in enumerate(_GAN_PANELS):
        lines = _lines(step, curves)
        if lines:
            limits = (-1.05, 1.05) if title.startswith("Discriminator") else None
            drawn = figures.line_figure(
                lines, f"{name}-{place}", title=title, x_label="kimg (thousand images shown)", y_limits=limits
            )
            panels.append({"svg": Svg(drawn), "note": note})
    facts = [
        ("Training", f"{fmt.significant(_figure(step, 'kimg'))} kimg"),
        ("Speed", f"{fmt.significant(_figure(step, 'images_per_second'))} images/s"),
        ("Generator", fmt.plural(_figure(step, "num_parameters_generator"), "parameter")),
        ("Discriminator", fmt.plural(_figure(step, "num_parameters_discriminator"), "parameter")),
        ("Time", duration(step.seconds)),
    ]
    samples = sheet(step.thumbnails, "samples", "Samples at the end of training", "", "The history holds no samples.")
    return {"label": _label(step), "panels": panels, "facts": _known(facts), "samples": samples}


def _selection(step: Step, name: str) -> dict[str, Any]:
    rows = [row for row in step.tables.get("distances", []) if is_number(row.get("kimg"))]
    kept, floor_size = _figure(step, "kimg"), _figure(step, "floor_num_images")
    panels = []
    for measure, title in (("kernel_distance", "Kernel distance"), ("frechet_distance", "Fréchet distance")):
        if any(is_number(row.get(measure)) for row in rows):
            floor = _figure(step, f"floor_{measure}")
            drawn = figures.distance_figure(rows, measure, f"{name}-{measure[:6]}", title=title, kept=kept, floor=floor)
            panels.append(Svg(drawn))
    sizes = sorted({row["num_images"] for row in rows if is_number(row.get("num_images"))})
    beside = [fmt.significant(_figure(step, key)) for key in ("frechet_distance_at_floor", "floor_frechet_distance")]
    facts = [
        ("Kept", f"the snapshot at {fmt.number(kept, 1)} kimg"),
        ("Features", str(step.settings.get("extractor", UNKNOWN))),
        (
            "Images each",
            " to ".join(fmt.number(size) for size in sizes[:1] + sizes[1:][-1:]) or UNKNOWN,
        ),
    ]
    if sizes and is_number(floor_size) and sizes[-1] >= floor_size:
        facts.append((f"Fréchet at {fmt.number(floor_size)} images", f"{beside[0]}, floor {beside[1]}"))
    return {"label": _label(step), "panels": panels, "rows": rows, "kept": kept, "facts": _known(facts)}


def _audit(step: Step, *, private_left_out: bool) -> dict[str, Any]:
    nearest_real = "The history holds no such pictures."
    # The synthetic ones are private as well where some of them are copies.
    pictures = step.thumbnails | step.private_thumbnails
    pairs = [
        sheet(pictures, "nearest_synthetic", "Synthetic", "those most like a training image", nearest_real),
        sheet(pictures, "nearest_real", "Real", "the training image that each is most like", nearest_real),
    ]
    return {
        "verdict": str(step.settings.get("verdict", UNKNOWN)),
        "rows": [row | {"measure": _measure(row.get("measure"))} for row in step.tables.get("audit", [])],
        "num_memorised": _figure(step, "num_memorised"),
        "share_memorised": _figure(step, "share_memorised"),
        "extractor": step.settings.get("extractor") or step.settings.get("features"),
        "held_out": step.settings.get("held_out"),
        "num_compared": step.settings.get("num_compared"),
        "pairs": [] if private_left_out else pairs,
    }


def _training(lineage: Lineage) -> dict[str, Any]:
    panels = []
    progress = [_line(arm, "validation_auc") for arm in lineage.arms]
    if lines := [line for line in progress if line is not None]:
        drawn = figures.line_figure(lines, "training-auc", title="AUC on validation images", x_label="epoch")
        panels.append(Svg(drawn))
    for arm in lineage.arms:
        curves = (("training_loss", "training"), ("validation_loss", "validation"))
        lines = _lines(arm.classifier, curves) if arm.classifier else []
        if lines:
            title = f"Loss of the {arm.name}"
            panels.append(Svg(figures.line_figure(lines, f"training-{arm.role}", title=title, x_label="epoch")))
    rows = [
        {
            "name": fmt.sentence_case(arm.name),
            "learned": learned_from(arm),
            "backbone": arm.classifier.settings.get("backbone"),
            "epochs": _figure(arm.classifier, "num_epochs"),
            "auc": _figure(arm.classifier, "validation_auc"),
            "threshold": _figure(arm.classifier, "threshold"),
            "seconds": arm.classifier.seconds,
        }
        for arm in lineage.arms
        if arm.classifier
    ]
    return {"panels": panels, "rows": rows}


def _lines(step: Step, curves: tuple[tuple[str, str], ...]) -> list[figures.Line]:
    found = []
    for place, (curve, label) in enumerate(curves):
        x, y = figures.points(step.curves.get(curve))
        if x:
            found.append(figures.Line(label, x, y, figures.SERIES[place], figures.SERIES_DASHES[place]))
    return found


def _line(arm: Arm, curve: str) -> figures.Line | None:
    x, y = figures.points(arm.classifier.curves.get(curve)) if arm.classifier else ([], [])
    return figures.Line(arm.name, x, y, figures.COLORS[arm.role], figures.DASHES[arm.role]) if x else None


def _figure(step: Step, name: str) -> Any:
    value = step.figures.get(name, step.counts.get(name))
    return value if is_number(value) else None


def _known(facts: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(term, value) for term, value in facts if UNKNOWN not in term + value]


def _label(step: Step) -> str:
    label = str(step.settings.get("label", ""))
    return {"": "", "all": "both classes"}.get(label, label)


def _measure(name: Any) -> str:
    return fmt.sentence_case(str(name).replace("_", " ").replace("frechet", "Fréchet"))


def _roles(lineage: Lineage) -> dict[str, str]:
    """Which classifier a step serves, by the step's id; nothing for steps that serve several."""
    found: dict[str, str] = {}
    for arm in lineage.arms:
        own = [step for step in (arm.evaluation, *arm.classifiers, *arm.filters) if step is not None]
        for step in own:
            found[step.id] = "" if step.id in found else arm.name
    return found


def _detail(step: Step, role: str) -> str:
    rule = {"": "", "none": "unfiltered"}.get(str(step.settings.get("rule") or ""), str(step.settings.get("rule")))
    known = [role, _label(step), str(step.settings.get("backbone") or ""), rule]
    return ", ".join(text for text in known if text)


def _versions(ordered: list[Step]) -> list[tuple[str, str]]:
    found: dict[str, list[str]] = {}
    for step in ordered:
        for name, version in step.versions.items():
            if version not in found.setdefault(name, []):
                found[name].append(version)
    return [(name, ", ".join(versions)) for name, versions in sorted(found.items())]
