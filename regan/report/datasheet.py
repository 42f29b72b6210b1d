"""The datasheet of a release: what the images are, how they came about, and what they may be used for.

References:
    Gebru et al., Datasheets for datasets, Communications of the ACM 64 (2021): the questions and their order.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from regan.artifacts.history import Step
from regan.artifacts.image_set import ImageRow, ImageSet
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
        steps: The public history of the release, by id; it holds the comparison and the audit.
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
    text = env.get_template("datasheet.md.j2").render(
        title=title,
        images=images,
        sources=_sources(images.rows),
        lineage=lineage,
        verdict=results.verdict(lineage),
        cards=results.cards(lineage),
        readings=read_control(lineage),
        acceptance=acceptance_text(lineage.candidate.filters),
        real=_real_images(lineage.preparations),
        audit_rows=[row | {"measure": str(row.get("measure"))} for row in steps[audit_id].tables.get("audit", [])],
        audit=steps[audit_id],
        num_copies=max(step.counts.get("num_copies_left_out", 0) for step in steps.values()),
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


def _real_images(preparations: tuple[Step, ...]) -> list[dict[str, Any]]:
    rows = [row for step in preparations for row in step.tables.get("split", []) if row.get("set") == "train"]
    return [row for place, row in enumerate(rows) if row not in rows[:place]]
