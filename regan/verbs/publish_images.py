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

from regan.common.errors import AuditFailedError, CorruptFileError, NoFilesError, WrongArtifactError
from regan.verbs.audit_images import AUDIT, NEAREST
from regan.verbs.compare_classifiers import REPORT

if TYPE_CHECKING:
    import numpy as np

    from regan.artifacts.history import Step
    from regan.artifacts.image_set import ImageSet

_LOG = logging.getLogger("regan")
DATASHEET, CHECKSUMS = "DATASHEET.md", "checksums.sha256"
_OF_GENERATOR = (
    "model.json",
    "weights.safetensors",
    "discriminator.safetensors",
    "training_index.csv.gz",
    "distances.csv",
)
_IN_SHEET = 16  # released images of each class shown in the report


@dataclass(frozen=True)
class PublishedImages:
    """Result of `publish_images`.

    Attributes:
        path: Folder of the release.
        num_images: Number of images in it.
        uri: URI of the pushed copy; empty if none was pushed.
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

    Only what may leave the hospital is written: pixels are encoded again, and images of patients, their hashes and
    groups, and names of files and folders are left out. Synthetic images that copy a training image are left out too,
    even if the audit passed, and so is every picture of earlier steps, which may show such a copy: the only pictures
    are new sheets of released images, one for each class. `sha256sum -c checksums.sha256` verifies a copy.

    The generators are not part of the release. They are pushed to a URI of their own, from which the training of the
    next run may start: weights, `model.json` with its licence, and the index of their training images.

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
        Folder, number of images and URI of the copy.

    Raises:
        NoFilesError: The images, the report or a generator are missing.
        WrongArtifactError: The images are not synthetic, or audit, report or a generator belong to other images.
        AuditFailedError: The audit of the images failed.
        CorruptFileError: The audit does not list its copies.
        ConflictError: Other runs changed `generator_uri` twice in the meantime.
        StorageAccessError: Object storage refuses access.
        StorageUnavailableError: Object storage does not answer.
    """
    from regan.artifacts.entries import AuditImagesEntry, PublishImagesEntry
    from regan.artifacts.entry import write_entry
    from regan.artifacts.image_set import ImageSet
    from regan.artifacts.model import weights_hash
    from regan.artifacts.output_folder import atomic_folder

    started = time.monotonic()
    release_uri = "/".join(filter(None, (release_uri.rstrip("/"), release_name))) if release_uri else ""
    image_set = ImageSet.open(images)
    audited = _require_fit(image_set, Path(audit), Path(report))
    copies = _copies(Path(audit), AuditImagesEntry.field(audited, "num_memorised"))
    generators = _generators(image_set, (generator, generator_positive)) if generator_uri else {}
    title = title or f"Synthetic {' and '.join(image_set.classes)} images"
    with atomic_folder(release) as folder:
        num_images = _write_images(image_set, copies, folder)
        _write_audit(audited, folder / AUDIT)
        with tempfile.TemporaryDirectory() as scratch:
            entry = PublishImagesEntry(
                title=title,
                release_uri=release_uri,
                num_images=num_images,
                num_copies_left_out=len(image_set) - num_images,
                generators_kept={name: weights_hash(made_by) for name, made_by in generators.items()} or None,
            )
            inputs = {"images": images, "audit": audit, "report": report}
            step = write_entry(scratch, entry, inputs, thumbnails=_sheets(folder), seconds=time.monotonic() - started)
            steps = _write_history(Path(scratch), folder, step.id)
        _write_papers(steps, audited.id, folder, title)
        _write_checksums(folder)
        # Before the release is pushed, since a release is pushed once: the step can be retried if this fails.
        for name, made_by in generators.items():
            _push_generator(made_by, f"{generator_uri.rstrip('/')}/{name}")
        if release_uri:
            from regan.storage import push

            # A folder named for this release contains at most an earlier try of it, which a retried task replaces.
            push(folder, release_uri, replace=bool(release_name))
    if report_uri:
        _finish(report_uri, run_key)
    _LOG.info("Published %d images: %s", num_images, release_uri or release)
    return PublishedImages(Path(release), num_images, release_uri)


def _require_fit(image_set: "ImageSet", audit: Path, report: Path) -> "Step":
    """Check that audit and report are about these images; return the audit's step."""
    made = _last_step(image_set.path, "images", None)
    if image_set.origin != "synthetic":
        raise WrongArtifactError(
            f"{image_set.path} is not a synthetic image set: its origin is {image_set.origin!r}. Only synthetic images "
            "are published. Pass the set that filter_images or generate_images wrote."
        )
    audited, compared = _last_step(audit, "audit", "audit_images"), _report_step(report)
    _require_passed(audited, audit)
    _require_about(made, audited, compared, audit, report)
    return audited


def _copies(audit: Path, expected: int) -> set[str]:
    """Pixel hashes of the `expected` synthetic images that copy a training image, from `nearest.csv` of the audit."""
    path = audit / NEAREST
    rows: list[dict[str, str]] = []
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["memorised"] == "True"]
    if len(rows) != expected:
        raise CorruptFileError(
            f"The audit in {audit} does not list all copies of training images, which are left out of a release: it "
            f"counted {expected}, and {NEAREST} lists {len(rows)}. Audit the images again."
        )
    return {row["sha256"] for row in rows}


def _generators(image_set: "ImageSet", folders: Sequence[str | Path]) -> dict[str, Path]:
    """Name below `generator_uri` -> generator folder; each generator must have made some of the images."""
    from regan.artifacts.model import read_model, weights_hash

    used = {row.generator for row in image_set.rows}
    found: dict[str, Path] = {}
    for folder in (Path(folder) for folder in folders if str(folder)):
        labels = read_model(folder, "generator")["labels"]
        name = labels[0] if len(labels) == 1 else "all"
        if weights_hash(folder) not in used:
            raise WrongArtifactError(
                f"The generator {folder} ({' and '.join(labels)}) made none of the images in {image_set.path}, so that "
                "their audit does not cover it. Pass the generator that generate_images used."
            )
        if name in found:
            raise WrongArtifactError(
                f"Two generators of the same class {name!r}: {found[name]} and {folder}. Omit `generator_positive` "
                "if one generator makes both classes."
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


def _push_generator(generator: Path, uri: str) -> None:
    """Push a generator as the latest version at a URI; try again once if another run pushed in between.

    Its history is left out: it contains images of patients and would grow with every run.
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
                pushed = push_latest(folder, uri, previous)
            except ConflictError as error:
                if last_try:
                    raise ConflictError(
                        f"Other runs changed {uri} twice while this one was pushing its generator: {error} Publish "
                        "again when they have finished."
                    ) from error
            else:
                _LOG.info("Pushed the generator as version %d of %s", pushed.number, uri)
                return


def _last_step(folder: Path, argument: str, verb: str | None) -> "Step":
    from regan.artifacts.history import last_step

    step = last_step(folder)
    if step is None or (verb is not None and step.verb != verb):
        wrote = "has no history" if step is None else f"was written by {step.verb}"
        raise WrongArtifactError(
            f"`{argument}` is the wrong folder: {folder} {wrote}. Pass a folder, with its history, that "
            f"{verb or 'a verb of regan'} wrote."
        )
    return step


def _report_step(report: Path) -> "Step":
    if not (report / REPORT).is_file():
        raise NoFilesError(f"No {REPORT} in {report}. Pass the folder that compare_classifiers wrote.")
    return _last_step(report, "report", "compare_classifiers")


def _require_passed(audited: "Step", audit: Path) -> None:
    from regan.artifacts.entries import AuditImagesEntry

    if (verdict := AuditImagesEntry.field(audited, "verdict")) != "passed":
        entry = AuditImagesEntry.of_or_none(audited)
        failed = [row.measure for row in entry.audit if row.passed is False] if entry else []
        beyond = f"; beyond the limit: {', '.join(failed)}" if failed else ""
        raise AuditFailedError(
            f"The audit in {audit} did not pass (verdict {verdict!r}{beyond}), so that the images are not published: "
            "they may copy training images. Train, select or filter again, and audit again."
        )


def _require_about(made: "Step", audited: "Step", compared: "Step", audit: Path, report: Path) -> None:
    from regan.artifacts.history import read_history
    from regan.report.lineage import Lineage, parents

    if made.id not in audited.inputs.get("synthetic", []):
        raise WrongArtifactError(
            f"The audit in {audit} is of other images: {', '.join(audited.inputs.get('synthetic', [])) or 'unknown'}. "
            f"The images to publish were written by {made.id}. Audit these images."
        )
    steps = read_history(report)
    trained_on = [s.id for c in Lineage.of(steps).candidate.classifiers for s in parents(steps, c, "images")]
    if made.id not in trained_on:
        raise WrongArtifactError(
            f"The report in {report} is of other images: its candidate was trained on "
            f"{', '.join(trained_on) or 'unknown images'}. The images to publish were written by {made.id}. Train, "
            "evaluate and compare a classifier trained on these images."
        )
    shown = compared.inputs.get("audit", [])
    if shown and audited.id not in shown:
        raise WrongArtifactError(
            f"The report in {report} shows another audit: {', '.join(shown)}, not {audited.id} of {audit}. Compare "
            "again with this audit."
        )


def _write_images(image_set: "ImageSet", copies: Collection[str], folder: Path) -> int:
    from regan.artifacts.image_set import ImageSetWriter
    from regan.common.progress import Progress
    from regan.report.redaction import public_settings

    rows = [row for row in image_set.rows if row.sha256 not in copies]
    # Every image is decoded, checked and encoded again, so that only its pixels get out, and of its row only what is
    # needed to make it again. The index of training images (hashes and groups of patients) is not written.
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
    """A sheet of the first images of the release in `folder` for each class."""
    import numpy as np

    from regan.artifacts.history import contact_sheet
    from regan.artifacts.image_set import ImageSet

    released = ImageSet.open(folder)
    shown = {label: released.with_label(label)[:_IN_SHEET] for label in released.classes}
    return {label: contact_sheet(np.stack(list(released.images(rows)))) for label, rows in shown.items() if rows}


def _write_audit(audited: "Step", path: Path) -> None:
    from regan.artifacts.entries import AuditImagesEntry
    from regan.report.redaction import public_settings

    public = {
        "verdict": AuditImagesEntry.field(audited, "verdict"),
        "settings": public_settings(audited.settings),
        "figures": audited.figures,
        "audit": audited.tables.get("audit", []),
        "step": audited.id,
    }
    path.write_text(json.dumps(public, indent=1, sort_keys=True) + "\n", encoding="utf-8", newline="\n")


def _write_history(source: Path, folder: Path, release_id: str) -> "Mapping[str, Step]":
    """Write the public part of the history of `source` into the release, and read it back.

    Only the pictures of the step `release_id` are written: earlier ones may show images that the audit classified as
    copies or did not check.
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
