import base64
import csv
import importlib.util
import io
import json
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import regan
from regan.artifacts.entries import AuditImagesEntry
from regan.artifacts.entry import write_entry
from regan.artifacts.history import last_step, read_history, write_step
from regan.artifacts.image_set import ImageSet, ImageSetWriter
from tests.entries import sample

SECRETS = ("Mustermann", "Doppelgaenger", "5eedf00d")


def load_study():
    path = Path(__file__).parents[1] / "report" / "study.py"
    spec = importlib.util.spec_from_file_location("study_for_publish", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


study = load_study()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A study whose source, refused file, settings and groups name a patient."""
    made = study.build_study(
        tmp_path_factory.mktemp("study"),
        per_sheet=2,
        source="/hospital/Mustermann/scans",
        refused_file="Doppelgaenger.png",
        licence="Weights Licence-NC",
    )
    made["report"] = made["audit"].parent / "report"
    regan.compare_classifiers(
        made["student_answers"],
        made["teacher_answers"],
        made["report"],
        control=made["control_answers"],
        audit=made["audit"],
    )
    return made


@pytest.fixture(scope="module")
def published(made, tmp_path_factory):
    # A comment in an image, as a scanner writes it, and one in the archive.
    shard = next(made["filtered"].glob("images-*.zip"))
    plant_in_pngs(shard, b"tEXtPatient\0Mustermann")
    return regan.publish_images(
        made["filtered"], made["audit"], made["report"], tmp_path_factory.mktemp("out") / "release"
    )


def plant_in_pngs(shard, chunk):
    import zlib

    block = len(chunk[4:]).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    with zipfile.ZipFile(shard) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(shard, "w") as archive:
        archive.comment = b"Mustermann"
        for name, data in entries.items():
            archive.writestr(name, data[:33] + block + data[33:] if name.endswith(".png") else data)


def all_bytes(folder):
    """Every file of a folder by name; archives and their entries as well."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        found[path.relative_to(folder).as_posix()] = path.read_bytes()
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                found |= {f"{path.name}/{name}": archive.read(name) for name in archive.namelist()}
    return found


def refused(made, tmp_path, match, error=ValueError, **changed):
    arguments = {"images": made["filtered"], "audit": made["audit"], "report": made["report"]} | changed
    with pytest.raises(error, match=match):
        regan.publish_images(*arguments.values(), tmp_path / "release")
    assert not (tmp_path / "release").exists()


def test_the_release_holds_every_part(published):
    assert {path.name for path in published.path.iterdir()} == {
        "images-00000-of-00001.zip",
        "imageset.json",
        "index.csv",
        "DATASHEET.md",
        "audit.json",
        "report.html",
        "history",
        "checksums.sha256",
    }
    assert (published.num_images, published.uri) == (12, "")


def test_sha256sum_accepts_the_checksums_and_finds_a_change(published, tmp_path):
    if shutil.which("sha256sum") is None:
        pytest.skip("needs sha256sum")
    copy = shutil.copytree(published.path, tmp_path / "copy")
    command = ["sha256sum", "--strict", "-c", "checksums.sha256"]
    checked = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    assert checked.returncode == 0
    named = {line.split("  ", 1)[1] for line in (copy / "checksums.sha256").read_text().splitlines()}
    assert named | {"checksums.sha256"} == {p.relative_to(copy).as_posix() for p in copy.rglob("*") if p.is_file()}
    (copy / "audit.json").write_text("{}")
    assert subprocess.run(command, cwd=copy, capture_output=True).returncode == 1


def test_the_released_images_are_those_that_were_audited(made, published):
    before, after = ImageSet.open(made["filtered"]), ImageSet.open(published.path)
    assert [row.sha256 for row in after.rows] == [row.sha256 for row in before.rows]
    np.testing.assert_array_equal(list(after.images()), list(before.images()))
    assert (after.classes, after.origin) == (("benign", "malignant"), "synthetic")
    assert [(row.label, row.seed, row.psi, row.generator) for row in after.rows] == [
        (row.label, row.seed, row.psi, row.generator) for row in before.rows
    ]


def test_no_byte_about_a_patient_is_released(made, published):
    files = all_bytes(published.path)
    for name, data in files.items():
        for secret in SECRETS:
            assert secret.encode() not in data, f"{secret} in {name}"
    pictures = [png for step in read_history(made["report"]).values() for png in step.private_thumbnails.values()]
    assert len(pictures) == 3
    for png in pictures:
        middle = png[len(png) // 2 :][:60]
        for name, data in files.items():
            assert middle not in data, name
            assert base64.b64encode(png)[100:160] not in data, name
    assert not (published.path / "history" / "private").exists()
    with (published.path / "index.csv").open(newline="") as file:
        assert {(row["group"], row["source"]) for row in csv.DictReader(file)} == {("", "")}


def test_the_same_secrets_are_found_in_what_stays_behind(made):
    # The test above means nothing if the secrets were never there.
    data = b"".join(all_bytes(made["filtered"]).values()) + b"".join(all_bytes(made["report"]).values())
    assert b"Mustermann" in data
    assert b"Doppelgaenger" in data
    assert ImageSet.open(made["filtered"]).training_index()


def test_the_history_of_the_release_ends_with_the_release(made, published):
    step = last_step(published.path)
    assert step.verb == "publish_images"
    assert step.inputs["images"] == [last_step(made["filtered"]).id]
    assert set(read_history(made["report"])) < set(read_history(published.path))


def test_the_report_is_the_public_one(published):
    html = (published.path / "report.html").read_text()
    assert html.count("Other pictures stay within the institution") == 1
    assert "IMG_0433.png" not in html
    assert "The student is non-inferior to the teacher" in html


def test_the_audit_is_told_from_its_history(published):
    audit = json.loads((published.path / "audit.json").read_text())
    assert audit["verdict"] == "passed"
    assert audit["figures"]["num_memorised"] == 0
    assert "coverage" in {row["measure"] for row in audit["audit"]}


@pytest.mark.parametrize(
    "said",
    [
        "# Synthetic benign and malignant images",
        "Research use, not a medical device.",
        "The student is non-inferior to the teacher in AUC",
        "| benign | 6 |",
        "| benign | 6 | " + "9e" * 32 + " | 1 to 6 | 0.7 |",
        "12 images, 32 × 32 pixels, grey",
        "rule agreement. The filter accepted 61",
        "Verdict: **passed**",
        "| coverage | 0.790 | 0.930 | – |",
        "have this licence: Weights Licence-NC",
        "sha256sum -c checksums.sha256",
        "Part of the performance of the student comes from the filter",
        "Real training images: 320 of class malignant",
        "Not meant for: diagnosis",
    ],
)
def test_the_datasheet_says(published, said):
    assert said in (published.path / "DATASHEET.md").read_text()


def test_the_licence_of_a_classifier_does_not_bind_the_images(published):
    assert "Terms of ImageNet" not in (published.path / "DATASHEET.md").read_text()


def test_a_copy_is_pushed_and_hostile_titles_are_plain_text(made, tmp_path):
    target = tmp_path / "bucket" / "release"
    target.parent.mkdir()
    title = "<script>alert(1)</script>\n# [x](http://evil) `|`"
    published = regan.publish_images(
        made["filtered"], made["audit"], made["report"], tmp_path / "release", release_uri=str(target), title=title
    )
    assert published.uri == str(target)
    assert (target / "checksums.sha256").read_bytes() == (published.path / "checksums.sha256").read_bytes()
    first = (published.path / "DATASHEET.md").read_text().splitlines()[0]
    assert first == r"# &lt;script&gt;alert(1)&lt;/script&gt; # \[x\](http://evil) \`\|\`"


def test_a_release_that_is_tried_again_takes_its_own_place_and_no_other(made, tmp_path):
    def publish(name: str, folder: str):
        inputs = made["filtered"], made["audit"], made["report"]
        return regan.publish_images(
            *inputs, tmp_path / folder, release_uri=str(tmp_path / "bucket"), release_name=name, title=folder
        )

    assert publish("run-1", "first try").uri == str(tmp_path / "bucket" / "run-1")
    publish("run-2", "another run")
    publish("run-1", "second try")
    titles = {
        path.parent.name: path.read_text().splitlines()[0] for path in (tmp_path / "bucket").glob("*/DATASHEET.md")
    }
    assert titles == {"run-1": "# second try", "run-2": "# another run"}


def test_a_push_that_fails_leaves_no_release(made, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "other.txt").write_text("somebody else's")
    with pytest.raises(FileExistsError):
        regan.publish_images(
            made["filtered"],
            made["audit"],
            made["report"],
            tmp_path / "release",
            release_uri=str(tmp_path / "full"),
        )
    assert not (tmp_path / "release").exists()


def test_images_that_copy_a_training_image_stay_behind_even_where_the_audit_passed(tmp_path):
    made = study.build_study(tmp_path / "study", per_sheet=1, num_copies=2)
    report = tmp_path / "study" / "report"
    regan.compare_classifiers(made["student_answers"], made["teacher_answers"], report, audit=made["audit"])
    published = regan.publish_images(made["filtered"], made["audit"], report, tmp_path / "release")
    before, after = (ImageSet.open(folder) for folder in (made["filtered"], published.path))
    assert published.num_images == len(after) == len(before) - 2
    assert [row.sha256 for row in after.rows] == [row.sha256 for row in before.rows[2:]]
    assert "2 images of the audited set left out" in (published.path / "DATASHEET.md").read_text()
    assert last_step(published.path).counts == {"num_images": 10, "num_copies_left_out": 2}


def history_pictures(folder):
    """PNGs of every step of a history by step and name, private ones too."""
    found = {}
    for path in (folder / "history").rglob("*.json"):
        for name, png in json.loads(path.read_text())["thumbnails"].items():
            found[f"{path.stem} {name}"] = base64.b64decode(png)
    return found


def page_pictures(folder):
    html = (folder / "report.html").read_text()
    return [base64.b64decode(png) for png in re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", html)]


def tiles(png, size=32):
    """Images of a contact sheet that was not made smaller, uint8 (n, size, size)."""
    sheet = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
    assert sheet.shape[0] % size == sheet.shape[1] % size == 0
    grid = sheet.reshape(sheet.shape[0] // size, size, -1, size)
    return grid.swapaxes(1, 2).reshape(-1, size, size)


@pytest.fixture(scope="module")
def with_memorised(tmp_path_factory):
    """A study whose first synthetic image is memorised and stands on every sheet of synthetic images; its release."""
    copy = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    drawn = study.phantom_image

    def planted(label, number, *, size, seed):
        first = 1 if seed == 8 else 0  # 8: the image set, counted from 1; 1 and 7: images of patients
        chosen = (label, number) == ("benign", first) and seed not in (1, 7)
        return copy if chosen else drawn(label, number, size=size, seed=seed)

    root = tmp_path_factory.mktemp("memorised")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "phantom_image", planted)
        made = study.build_study(root / "study", per_sheet=4, num_copies=1, per_class=20)
    made["report"] = root / "report"
    regan.compare_classifiers(made["student_answers"], made["teacher_answers"], made["report"], audit=made["audit"])
    published = regan.publish_images(made["filtered"], made["audit"], made["report"], root / "release")
    return copy, made, published


def showing(copy, pictures):
    return [name for name, png in pictures.items() if (tiles(png) == copy).all(axis=(1, 2)).any()]


def test_no_picture_of_the_release_shows_an_image_that_stayed_behind(with_memorised):
    copy, made, published = with_memorised
    behind = {name.split(maxsplit=1)[1] for name in showing(copy, history_pictures(made["report"]))}
    assert behind == {"samples", "benign", "kept_benign", "refused_malignant", "nearest_synthetic"}
    assert showing(copy, {str(n): png for n, png in enumerate(page_pictures(made["report"]))})
    assert showing(copy, history_pictures(published.path)) == []
    assert showing(copy, {str(n): png for n, png in enumerate(page_pictures(published.path))}) == []


def test_the_only_pictures_of_the_release_are_sheets_of_released_images(with_memorised):
    _, _, published = with_memorised
    released, step = ImageSet.open(published.path), last_step(published.path)
    assert set(history_pictures(published.path)) == {f"{step.id} benign", f"{step.id} malignant"}
    assert page_pictures(published.path) == [step.thumbnails["benign"], step.thumbnails["malignant"]]
    for label, png in step.thumbnails.items():
        expected = list(released.images(released.with_label(label)[:16]))
        np.testing.assert_array_equal(tiles(png)[..., np.newaxis], expected)


def test_a_class_without_released_images_has_no_sheet(tmp_path):
    made = study.build_study(tmp_path / "study", per_sheet=1, num_copies=6)
    report = tmp_path / "report"
    regan.compare_classifiers(made["student_answers"], made["teacher_answers"], report, audit=made["audit"])
    published = regan.publish_images(made["filtered"], made["audit"], report, tmp_path / "release")
    assert set(last_step(published.path).thumbnails) == {"malignant"}
    assert "No image of this class was released." in (published.path / "report.html").read_text()


def test_an_audit_that_does_not_name_its_copies_is_refused(made, tmp_path):
    copied = study.build_study(tmp_path / "study", per_sheet=1, num_copies=2)
    report = tmp_path / "study" / "report"
    regan.compare_classifiers(copied["student_answers"], copied["teacher_answers"], report, audit=copied["audit"])
    (copied["audit"] / "nearest.csv").unlink()
    refused(copied | {"report": report}, tmp_path, r"counted 2, and nearest\.csv lists 0")


def test_a_failed_audit_stops_the_release(made, tmp_path):
    failed = study.build_study(tmp_path / "study", per_sheet=1, audit_verdict="failed")
    report = tmp_path / "study" / "report"
    regan.compare_classifiers(failed["student_answers"], failed["teacher_answers"], report, audit=failed["audit"])
    refused(failed | {"report": report}, tmp_path, r"did not pass .verdict 'failed'; beyond the limit: share_memorised")


def test_an_audit_of_another_image_set_is_refused(made, tmp_path):
    (tmp_path / "audit").mkdir()
    entry = sample(AuditImagesEntry, verdict="passed", num_memorised=0)
    write_entry(tmp_path / "audit", entry, {"synthetic": made["unfiltered"]}, seconds=0)
    refused(made, tmp_path, r"^The audit in .* is of other images", audit=tmp_path / "audit")


def test_a_report_on_another_image_set_is_refused(made, tmp_path):
    report = tmp_path / "report"
    regan.compare_classifiers(made["control_answers"], made["teacher_answers"], report)
    refused(made, tmp_path, r"^The report in .* is of other images", report=report)


def test_a_report_that_shows_another_audit_is_refused(made, tmp_path):
    (tmp_path / "audit").mkdir()
    entry = sample(AuditImagesEntry, verdict="passed", num_memorised=0)
    write_entry(tmp_path / "audit", entry, {"synthetic": made["filtered"]}, seconds=0)
    refused(made, tmp_path, r"^The report in .* shows another audit", audit=tmp_path / "audit")


def test_a_missing_report_is_refused(made, tmp_path):
    refused(made, tmp_path, r"^No report\.html in", FileNotFoundError, report=tmp_path)


def test_what_is_no_audit_is_refused(made, tmp_path):
    refused(made, tmp_path, "was written by train_classifier", audit=made["student"])


def test_images_of_patients_are_refused(made, tmp_path):
    (folder := tmp_path / "real").mkdir()
    with ImageSetWriter(folder, size=32, channels=1, classes=("a", "b"), origin="real", settings={}) as writer:
        writer.add(np.zeros((32, 32, 1), np.uint8), "a")
    write_step(folder, "prepare_images", {}, settings={}, seconds=0)
    refused(made, tmp_path, r"is not a synthetic image set: its origin is 'real'", images=folder)


def test_images_without_history_are_refused(made, tmp_path):
    shutil.copytree(made["filtered"], tmp_path / "images", ignore=shutil.ignore_patterns("history"))
    refused(made, tmp_path, "has no history", images=tmp_path / "images")


def test_images_that_were_changed_after_the_audit_are_refused(made, tmp_path):
    folder = shutil.copytree(made["filtered"], tmp_path / "images")
    lines = (folder / "index.csv").read_text().splitlines()
    first, second = lines[1].split(","), lines[2].split(",")
    first[3], second[3] = second[3], first[3]
    (folder / "index.csv").write_text("\n".join([lines[0], ",".join(first), ",".join(second), *lines[3:]]) + "\n")
    refused(made, tmp_path, "differs from the index", images=folder)
