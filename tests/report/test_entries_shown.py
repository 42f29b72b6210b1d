"""The report and the datasheet read each field of the history that they show, through the entry of its verb."""

from collections import defaultdict
from dataclasses import fields

import pytest

import regan
from regan.artifacts.entries import ENTRIES, PublishImagesEntry
from regan.artifacts.entry import Entry, write_entry
from regan.artifacts.history import read_history
from regan.artifacts.image_set import ImageSet
from regan.report.datasheet import write_datasheet
from regan.report.page import render_report
from tests.entries import sample
from tests.report.test_previous_verdict import LAST, with_last

# What the pages show besides the list of steps, which shows all settings, counts and figures as they are.
SHOWN = {
    "prepare_images": "num_refused num_duplicates num_label_conflicts split refusal_reasons refused groups "
    "split_version num_known num_new num_gone num_refused_by_saved_split",
    "train_gan": "label preset kimg images_per_second num_parameters_generator num_parameters_discriminator "
    "generator_loss discriminator_loss r1 path_length real_sign fake_sign",
    "select_snapshot": "extractor labels kimg floor_kernel_distance floor_frechet_distance frechet_distance_at_floor "
    "floor_num_images distances",
    "generate_images": "",  # its label is read by `Entry.field`
    "filter_images": "rule acceptance",
    "train_classifier": "backbone num_images num_epochs validation_auc threshold training_loss validation_loss "
    "validation_auc_curve",
    "evaluate_classifier": "threshold roc",
    "audit_images": "extractor verdict held_out num_compared num_memorised share_memorised audit",
    "compare_classifiers": "endpoint margin verdict sentence unit positive_class negative_class notes num_images "
    "num_positive num_negative num_units difference lower upper tests differences measures confusion test_set run_key "
    "data_version previous_verdict",
    "publish_images": "num_copies_left_out",
    "import_nvidia": "",
    "preflight": "",
}


@pytest.fixture
def reads(monkeypatch):
    """Fields that are read from now on, by verb."""
    found = defaultdict(set)

    def read(entry, name):
        found[type(entry).verb].add(name)
        return object.__getattribute__(entry, name)

    monkeypatch.setattr(Entry, "__getattribute__", read)
    return found


def full_history(build_study, root):
    """The history of a release, of a run with a saved split, groups and a previous verdict."""
    made = build_study(root, per_sheet=1, num_copies=2)
    report = root / "report"
    given = {"control": made["control_answers"], "audit": made["audit"]}
    regan.compare_classifiers(made["student_answers"], made["teacher_answers"], report, **given)
    (root / "release").mkdir()
    write_entry(root / "release", sample(PublishImagesEntry), {"report": report, "audit": made["audit"]}, seconds=1.0)
    steps = dict(read_history(root / "release"))
    saved = {"split_version": 3, "num_known": 7, "num_new": 4, "num_gone": 5, "num_refused_by_kept_split": 2}
    prepared = next(step for step in steps.values() if step.verb == "prepare_images")
    prepared.figures.update(saved)
    compared = next(step for step in steps.values() if step.verb == "compare_classifiers")
    compared.settings["unit"] = "group"
    audit = next(name for name, step in steps.items() if step.verb == "audit_images")
    return with_last(steps, LAST), ImageSet.open(made["filtered"]), audit


def test_the_pages_read_the_fields_that_they_show(build_study, tmp_path, reads):
    steps, images, audit = full_history(build_study, tmp_path)
    reads.clear()
    render_report(steps)
    write_datasheet(steps, images, audit, tmp_path / "sheet.md", title="Title")
    for verb, kind in ENTRIES.items():
        names = {one.name for one in fields(kind)}
        assert reads[verb] & names == set(SHOWN[verb].split()), verb


@pytest.mark.parametrize(
    ("verb", "part", "key", "said"),
    [
        ("train_gan", "settings", "preset", "## Generation"),
        ("filter_images", "settings", "rule", "- Filter: not known, since its step of the history cannot be read."),
        ("audit_images", "figures", "recall", "Verdict: **passed**.\n\nIts other figures are not known."),
    ],
)
def test_the_datasheet_is_written_without_what_cannot_be_read(build_study, tmp_path, verb, part, key, said):
    steps, images, audit = full_history(build_study, tmp_path)
    for step in steps.values():
        if step.verb == verb:
            getattr(step, part).pop(key)
    write_datasheet(steps, images, audit, tmp_path / "sheet.md", title="Title")
    assert said in (tmp_path / "sheet.md").read_text()
