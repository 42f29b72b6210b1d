"""Release audited synthetic images."""

import csv
import json
import logging
import shutil
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from regan.artifacts.history import Step
    from regan.artifacts.image_set import ImageSet

_LOG = logging.getLogger("regan")
DATASHEET, AUDIT, REPORT, CHECKSUMS = "DATASHEET.md", "audit.json", "report.html", "checksums.sha256"
NEAREST = "nearest.csv"  # of an audit: which image copies a training image
_OF_GENERATOR = (
    "model.json",
    "weights.safetensors",
    "discriminator.safetensors",
    "training_index.csv.gz",
    "distances.csv",
)
_IN_SHEET = 16  # released images of each class that the report shows


@dataclass(frozen=True)
class PublishedImages:
    """A release.

    Attributes:
        path: Folder of the release.
        num_images: Number of images in it.
        uri: Where a copy was pushed to; empty where none was.
    """

    path: Path
    num_images: int
    uri: str


def publish_images(
    images: str | Path,
    audit: str | Path,
    report: str | Path,
    release: str | Path,
    *,
    generator: str | Path = "",
    generator_positive: str | Path = "",
    release_uri: str = "",
    release_name: str = "",
    title: str = "",
    generator_uri: str = "",
    report_uri: str = "",
    run_key: str = "",
) -> PublishedImages:
    """Release audited synthetic images with datasheet, report, history and checksums.

    Only what may leave the hospital is written: pixels are encoded anew, and images of patients, their hashes and
    groups, and the names of files and folders stay behind. So do synthetic images that copy a training image, even
    where the audit passed, and every picture of earlier steps, which may show such a copy: the only pictures are
    fresh sheets of released images, one for each class. `sha256sum -c checksums.sha256` checks a copy.

    The generators are no part of the release. They are kept at an address of their own, where the next run's training
    may start from them: weights, `model.json` with its licence, and the index of images that trained them.

    Args:
        images: Synthetic image set.
        audit: Its audit, which must have passed.
        report: Report on the classifier trained on these images.
        release: Folder to write.
        generator: Generator of the images: of both classes, or of the negative class. Empty = none is kept.
        generator_positive: Generator of the positive class, where each class has its own.
        release_uri: URI that the release is copied to; empty = no copy. Such as gs://bucket/folder.
        release_name: Subfolder of `release_uri` for this release; empty = the URI itself.
        title: Title of the datasheet; empty = made from the classes.
        generator_uri: Stable URI of released generators: GAN training starts from the latest, and publish_images adds
            the new one; empty = start from random weights and keep none. It must stay within the institution;
            generators are at `<generator_uri>/<class>`, or `<generator_uri>/all` for one of both classes.
        report_uri: Stable URI where report and verdict are kept from run to run; empty = they are not kept. As the last
            act the run is marked there as finished, so that a run whose release failed is not taken for a complete one.
        run_key: Key of the run, the same when the run is repeated.

    Returns:
        Folder, number of images and address of the copy.

    Raises:
        FileNotFoundError: The images, the report or a generator are missing.
        ValueError: The audit failed, audit, report or a generator belong to other images, or the images are not
            synthetic.
        RuntimeError: Other runs have kept their generator at `generator_uri` twice meanwhile.
        OSError: The storage does not answer as it should.
    """
    from regan.artifacts.history import write_step
    from regan.artifacts.image_set import ImageSet
    from regan.artifacts.model import weights_hash
    from regan.artifacts.output_folder import atomic_folder

    started = time.monotonic()
    release_uri = "/".join(filter(None, (release_uri.rstrip("/"), release_name))) if release_uri else ""
    image_set = ImageSet.open(images)
    audited = _checked(image_set, Path(audit), Path(report))
    copies = _copies(Path(audit), audited)
    generators = _generators(image_set, (generator, generator_positive)) if generator_uri else {}
    settings: dict[str, Any] = {"title": title or f"Synthetic {' and '.join(image_set.classes)} images"}
    settings |= {"release_uri": release_uri}
    if generators:
        settings |= {"generators_kept": {name: weights_hash(folder) for name, folder in generators.items()}}
    with atomic_folder(release) as folder:
        num_images = _write_images(image_set, copies, folder)
        _write_audit(audited, folder / AUDIT)
        with tempfile.TemporaryDirectory() as scratch:
            step = write_step(
                scratch,
                "publish_images",
                {"images": images, "audit": audit, "report": report},
                settings=settings,
                counts={"num_images": num_images, "num_copies_left_out": len(image_set) - num_images},
                thumbnails=_sheets(folder),
                seconds=time.monotonic() - started,
            )
            steps = _write_history(Path(scratch), folder, step.id)
        _write_papers(steps, audited.id, folder, settings["title"])
        _write_checksums(folder)
        # Before the release is pushed, which cannot be done twice: the step may be tried again where this fails.
        for name, made_by in generators.items():
            _keep_generator(made_by, f"{generator_uri.rstrip('/')}/{name}")
        if release_uri:
            from regan.storage import push

            # A place of its own holds an earlier try of the same release at most: a task that is retried replaces it.
            push(folder, release_uri, replace=bool(release_name))
    if report_uri:
        _finish(report_uri, run_key)
    _LOG.info("Published %d images: %s", num_images, release_uri or release)
    return PublishedImages(Path(release), num_images, release_uri)


def _checked(image_set: "ImageSet", audit: Path, report: Path) -> "Step":
    """The step of the audit, once all is known to be about these very images."""
    made = _last_step(image_set.path, "images", None)
    if image_set.origin != "synthetic":
        raise ValueError(
            "Only synthetic images are published, never those of patients. Received an image set of origin "
            f"{image_set.origin!r}: {image_set.path}. Name the set that `filter_images` or `generate_images` wrote."
        )
    audited, compared = _last_step(audit, "audit", "audit_images"), _report_step(report)
    _require_passed(audited, audit)
    _require_about(made, audited, compared, audit, report)
    return audited


def _copies(audit: Path, audited: "Step") -> set[str]:
    """Pixel hashes of the synthetic images that copy a training image."""
    path, expected = audit / NEAREST, audited.figures.get("num_memorised", 0)
    rows: list[dict[str, str]] = []
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["memorised"] == "True"]
    if len(rows) != expected:
        raise ValueError(
            "The audit must name the images that copy a training image, so that they stay behind. Received "
            f"audit={audit} with {expected} such images and {len(rows)} of them in `{NEAREST}`. Audit the images again."
        )
    return {row["sha256"] for row in rows}


def _generators(image_set: "ImageSet", folders: Sequence[str | Path]) -> dict[str, Path]:
    """Name at the address -> generator, each of which must have made some of the images."""
    from regan.artifacts.model import read_model, weights_hash

    used = {row.generator for row in image_set.rows}
    found: dict[str, Path] = {}
    for folder in (Path(folder) for folder in folders if str(folder)):
        labels = read_model(folder, "generator")["labels"]
        name = labels[0] if len(labels) == 1 else "all"
        if weights_hash(folder) not in used:
            raise ValueError(
                "A generator that is kept must be one that made the images, whose audit speaks for it. Received "
                f"{folder} of {' and '.join(labels)}, which made none of {image_set.path}. Name the generator that "
                "`generate_images` was given."
            )
        if name in found:
            raise ValueError(
                f"Each class has one generator. Received two for {name}: {found[name]} and {folder}. Leave "
                "`generator_positive` out where one generator makes both classes."
            )
        found[name] = folder
    return found


def _finish(report_uri: str, run_key: str) -> None:
    from regan.common.errors import ConflictError
    from regan.report.previous_verdict import finish_verdict
    from regan.storage import fetch_latest, push_latest

    for last_try in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            previous = fetch_latest(report_uri, folder)
            if previous is None or not finish_verdict(Path(folder), run_key):
                return
            try:
                push_latest(folder, report_uri, previous)
                return
            except ConflictError:
                if last_try:
                    raise


def _keep_generator(generator: Path, uri: str) -> None:
    """Make a generator the newest version at an address; where another run was faster, once more on top of it.

    Its history, with images of patients, stays behind: it would grow with every run.
    """
    from regan.common.errors import ConflictError
    from regan.common.files import file_hash
    from regan.storage import latest, push_latest

    with tempfile.TemporaryDirectory() as folder:
        for name in _OF_GENERATOR:
            if (generator / name).is_file():
                shutil.copyfile(generator / name, Path(folder) / name)
        hashes = {path.name: file_hash(path) for path in Path(folder).iterdir()}
        for last_try in (False, True):
            previous = latest(uri)
            if previous is not None and dict(previous.files) == hashes:
                return
            try:
                kept = push_latest(folder, uri, previous)
            except ConflictError as error:
                if last_try:
                    raise ConflictError(
                        f"One run at a time may keep its generator. Others have changed {uri} twice meanwhile: "
                        f"{error} Publish again when they are done."
                    ) from error
            else:
                _LOG.info("Kept the generator as version %d of %s", kept.number, uri)
                return


def _last_step(folder: Path, argument: str, verb: str | None) -> "Step":
    from regan.artifacts.history import last_step

    step = last_step(folder)
    if step is None or (verb is not None and step.verb != verb):
        wrote = "has no history" if step is None else f"was written by `{step.verb}`"
        raise ValueError(
            f"`{argument}` must be a folder that {f'`{verb}`' if verb else 'a verb of regan'} wrote, with its history. "
            f"Received {argument}={folder}, which {wrote}."
        )
    return step


def _report_step(report: Path) -> "Step":
    if not (report / REPORT).is_file():
        raise FileNotFoundError(
            f"Images are published with the report on what they are worth. Received report={report}, which holds no "
            f"`{REPORT}`. Run `compare_classifiers` first."
        )
    return _last_step(report, "report", "compare_classifiers")


def _require_passed(audited: "Step", audit: Path) -> None:
    if (verdict := audited.settings.get("verdict")) != "passed":
        failed = [str(row.get("measure")) for row in audited.tables.get("audit", []) if row.get("passed") is False]
        raise ValueError(
            "Only images whose audit passed are published, because they may copy patients or miss what they should "
            f"show. Received audit={audit} with verdict {verdict!r}{'; beyond its limit: ' if failed else ''}"
            f"{', '.join(failed)}. Train, choose or filter anew and audit again."
        )


def _require_about(made: "Step", audited: "Step", compared: "Step", audit: Path, report: Path) -> None:
    from regan.artifacts.history import read_history
    from regan.report.lineage import Lineage, parents

    if made.id not in audited.inputs.get("synthetic", []):
        raise ValueError(
            "`audit` must be about the images that are published. "
            f"Received audit={audit} of {', '.join(audited.inputs.get('synthetic', [])) or 'unknown images'}, and "
            f"images written by {made.id}. Audit these images."
        )
    steps = read_history(report)
    learned = [s.id for c in Lineage.of(steps).candidate.classifiers for s in parents(steps, c, "images")]
    if made.id not in learned:
        raise ValueError(
            "`report` must be about a classifier that was trained on the images that are published. "
            f"Received report={report}, whose candidate learned from {', '.join(learned) or 'unknown images'}, and "
            f"images written by {made.id}. Train, evaluate and compare a classifier of these images."
        )
    shown = compared.inputs.get("audit", [])
    if shown and audited.id not in shown:
        raise ValueError(
            "The report must show the audit that is published with it. "
            f"Received audit={audit}, which is {audited.id}, and report={report}, which shows {', '.join(shown)}. "
            "Compare again with this audit."
        )


def _write_images(image_set: "ImageSet", copies: Collection[str], folder: Path) -> int:
    from regan.artifacts.image_set import ImageSetWriter
    from regan.common.progress import Progress
    from regan.report.redaction import public_settings

    rows = [row for row in image_set.rows if row.sha256 not in copies]
    # Every image is decoded, checked and encoded anew, so that nothing but its pixels gets out; of its row only what
    # tells how to make it again. The index of training images (hashes and groups of patients) is not written.
    with (
        ImageSetWriter(
            folder,
            size=image_set.size,
            channels=image_set.channels,
            classes=image_set.classes,
            origin=image_set.origin,
            settings=public_settings(image_set.settings),
            shard_images=max(1000, -(-len(rows) // ImageSetWriter.MAX_SHARDS)),
        ) as writer,
        Progress("Publish images", len(image_set)) as progress,
    ):
        for row, image in zip(rows, image_set.images(rows)):
            writer.add(image, row.label, generator=row.generator, seed=row.seed, psi=row.psi)
            progress.advance()
    return len(rows)


def _sheets(folder: Path) -> "dict[str, np.ndarray]":
    """For each class a sheet of the first images of the release in `folder`."""
    import numpy as np

    from regan.artifacts.history import contact_sheet
    from regan.artifacts.image_set import ImageSet

    released = ImageSet.open(folder)
    shown = {label: released.with_label(label)[:_IN_SHEET] for label in released.classes}
    return {label: contact_sheet(np.stack(list(released.images(rows)))) for label, rows in shown.items() if rows}


def _write_audit(audited: "Step", path: Path) -> None:
    from regan.report.redaction import public_settings

    public = {
        "verdict": audited.settings.get("verdict"),
        "settings": public_settings(audited.settings),
        "figures": audited.figures,
        "audit": audited.tables.get("audit", []),
        "step": audited.id,
    }
    path.write_text(json.dumps(public, indent=1, sort_keys=True) + "\n", encoding="utf-8", newline="\n")


def _write_history(source: Path, folder: Path, release_id: str) -> "Mapping[str, Step]":
    """Write the public part of the history of `source` into the release, and read it back.

    Of pictures only those of the step `release_id` get out: earlier ones show images that the audit took for copies,
    or never saw.
    """
    from regan.artifacts.history import HISTORY, read_history
    from regan.report.redaction import public_settings

    (folder / HISTORY).mkdir()
    for path in sorted((source / HISTORY).glob("*.json")):
        public: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        public["settings"] = public_settings(public["settings"])
        if path.stem != release_id:
            public["thumbnails"] = {}
        (folder / HISTORY / path.name).write_text(
            json.dumps(public, indent=1, sort_keys=True) + "\n", encoding="utf-8", newline="\n"
        )
    return read_history(folder)


def _write_papers(steps: "Mapping[str, Step]", audit_id: str, folder: Path, title: str) -> None:
    from regan.artifacts.image_set import ImageSet
    from regan.report.datasheet import write_datasheet
    from regan.report.page import write_report

    write_report(steps, folder / REPORT, include_private=False)
    write_datasheet(steps, ImageSet.open(folder), audit_id, folder / DATASHEET, title=title)


def _write_checksums(folder: Path) -> None:
    from regan.common.files import file_hash

    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    lines = [f"{file_hash(folder / name)}  {name}\n" for name in names]
    (folder / CHECKSUMS).write_text("".join(lines), encoding="utf-8", newline="\n")
