"""The datasheet of a release: what the images are, how they were made, and what they may be used for.

References:
    Gebru et al., Datasheets for datasets, Communications of the ACM 64 (2021): the questions and their order.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from regan.artifacts.entries import (
    AuditImagesEntry,
    PrepareImagesEntry,
    PublishImagesEntry,
    SelectSnapshotEntry,
    TrainGanEntry,
)
from regan.artifacts.history import Step
from regan.artifacts.image_set import ImageRow, ImageSet
from regan.artifacts.rows import SplitRow
from regan.common.text import UNKNOWN, markdown_text
from regan.report import formatting as fmt
from regan.report import provenance_sections, results
from regan.report.control_reading import acceptance_text, read_control
from regan.report.lineage import Lineage
from regan.report.page import TEMPLATES


def write_datasheet(
    steps: Mapping[str, Step], images: ImageSet, audit_id: str, output_markdown: Path, *, title: str
) -> None:
    """Write the datasheet of a published image set as Markdown.

    Args:
        steps: The public history of the release, by id, with the comparison and the audit.
        images: The image set.
        audit_id: Id of the audit's step.
        output_markdown: The file to write, UTF-8.
        title: Title of the data set.
    """
    lineage = Lineage.of(steps)
    env = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: markdown_text(value, None),
    )
    env.filters |= {"number": fmt.number, "significant": fmt.significant, "plural": fmt.plural}
    # Strict where the datasheet speaks of copies: left out, a verdict or a count would read as "none".
    publications = [PublishImagesEntry.of(step) for step in steps.values() if step.verb == PublishImagesEntry.verb]
    text = env.get_template("datasheet.md.j2").render(
        title=title,
        images=images,
        sources=_sources(images.rows),
        lineage=lineage,
        verdict=results.verdict(lineage),
        cards=results.cards(lineage),
        readings=read_control(lineage),
        acceptance=acceptance_text(lineage.candidate.filters),
        runs=[entry for step in lineage.runs if (entry := TrainGanEntry.of_or_none(step))],
        selections=[one for step in lineage.selections if (one := SelectSnapshotEntry.of_or_none(step))],
        real=_real_images(lineage.preparations),
        audit_verdict=AuditImagesEntry.field(steps[audit_id], "verdict"),
        audit=AuditImagesEntry.of_or_none(steps[audit_id]),
        num_copies=max((entry.num_copies_left_out for entry in publications), default=0),
        licences=provenance_sections.licences(lineage.making),
        version=steps[audit_id].versions.get("regan", UNKNOWN),
    )
    Path(output_markdown).write_text(text, encoding="utf-8", newline="\n")


def _sources(rows: Iterable[ImageRow]) -> list[dict[str, Any]]:
    """For each class, generator and psi: how many images, and from which seeds."""
    seeds: dict[tuple[str, str, str], list[int]] = {}
    for row in rows:
        numbers = seeds.setdefault((row.label, row.generator, row.psi), [])
        if row.seed.isdigit():
            numbers.append(int(row.seed))
    counts: dict[tuple[str, str, str], int] = {}
    for row in rows:
        key = (row.label, row.generator, row.psi)
        counts[key] = counts.get(key, 0) + 1
    return [
        {
            "label": label,
            "generator": generator or UNKNOWN,
            "psi": psi or UNKNOWN,
            "images": counts[label, generator, psi],
            "seeds": f"{min(numbers)} to {max(numbers)}" if numbers else UNKNOWN,
        }
        for (label, generator, psi), numbers in seeds.items()
    ]


def _real_images(preparations: tuple[Step, ...]) -> list[SplitRow]:
    entries = filter(None, map(PrepareImagesEntry.of_or_none, preparations))
    return list(dict.fromkeys(row for entry in entries for row in entry.split if row.set == "train"))
