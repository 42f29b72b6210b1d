from dataclasses import fields, replace
from typing import get_args, get_type_hints

import pytest

from regan.artifacts.entries import ENTRIES, CompareClassifiersEntry, PreflightEntry, PrepareImagesEntry, TrainGanEntry
from regan.artifacts.entry import keys_of, read_record, write_entry
from regan.artifacts.history import last_step
from regan.artifacts.rows import SplitRow
from regan.common.errors import CorruptFileError
from tests.entries import sample

# Keys of every file of the history as they are on disk, in the order settings, counts, figures, curves, tables and
# private tables. A field that is renamed must keep its key, since older histories have it.
KEYS = {
    "prepare_images": (
        "channels mask_pattern negative_class positive_class seed size test_per_class validation_fraction",
        "test train validation",
        "num_duplicates num_enlarged num_gone num_groups num_groups_of_both_classes num_known num_label_conflicts "
        "num_new num_refused num_refused_by_kept_split split_version",
        "",
        "refusal_reasons split",
        "groups refused source",
    ),
    "train_gan": (
        "keep_snapshots label preset",
        "num_snapshots",
        "images_per_second kimg num_parameters_discriminator num_parameters_generator",
        "augmentation_strength discriminator_loss fake_sign generator_loss path_length r1 real_sign",
        "",
        "",
    ),
    "select_snapshot": (
        "extractor extractor_hash labels num_images seed truncation_psi",
        "num_snapshots",
        "floor_frechet_distance floor_kernel_distance floor_num_images frechet_distance frechet_distance_at_floor "
        "kernel_distance kimg",
        "",
        "distances",
        "",
    ),
    "generate_images": (
        "generator_hash label mixing_cut mixing_seeds noise seeds truncation_cutoff truncation_psi",
        "num_images",
        "images_per_second",
        "",
        "",
        "",
    ),
    "filter_images": (
        "classifier confidence per_class rule seed",
        "num_images per_class",
        "num_duplicates",
        "",
        "acceptance",
        "",
    ),
    "train_classifier": (
        "backbone batch_size configuration epochs first_weights learning_rate recipe seed",
        "num_images num_validation",
        "num_epochs num_images threshold validation_auc",
        "training_loss validation_auc validation_loss",
        "",
        "",
    ),
    "evaluate_classifier": (
        "classes classifier positive_class",
        "num_images",
        "accuracy auc brier false_negative false_positive sensitivity specificity threshold true_negative "
        "true_positive",
        "roc",
        "",
        "",
    ),
    "audit_images": (
        "cut extractor extractor_hash held_out max_memorised num_compared seed verdict",
        "num_synthetic num_train num_validation",
        "coverage num_memorised precision recall share_memorised",
        "",
        "audit",
        "",
    ),
    "compare_classifiers": (
        "data_version endpoint last_verdict margin names negative_class notes positive_class run_key sentence test_set "
        "unit verdict",
        "num_images num_negative num_positive num_units",
        "difference lower p p_noninferiority upper",
        "",
        "confusion differences measures tests",
        "",
    ),
    "publish_images": ("generators_kept release_uri title", "num_copies_left_out num_images", "", "", "", ""),
    "import_nvidia": ("licence notes origin", "", "", "", "", ""),
    "preflight": ("checkpoint_uri data_version go run_key sentence", "images", "bytes", "", "", ""),
}
PARTS = ("settings", "counts", "figures", "curves", "tables", "private_tables")


@pytest.mark.parametrize("kind", ENTRIES.values(), ids=ENTRIES)
@pytest.mark.parametrize("full", [True, False], ids=["full", "least"])
def test_what_a_verb_writes_is_read_back(tmp_path, kind, full):
    entry = sample(kind, full=full)
    write_entry(tmp_path, entry, {}, seconds=1.0)
    assert kind.of(last_step(tmp_path)) == entry


@pytest.mark.parametrize("kind", ENTRIES.values(), ids=ENTRIES)
def test_the_keys_on_disk_are_those_of_older_histories(tmp_path, kind):
    step = write_entry(tmp_path, sample(kind, full=True), {}, seconds=1.0)
    assert tuple(" ".join(sorted(getattr(step, part))) for part in PARTS) == KEYS[kind.verb]


@pytest.mark.parametrize("kind", ENTRIES.values(), ids=ENTRIES)
def test_a_missing_field_is_an_error_unless_its_type_allows_it(tmp_path, kind):
    step = write_entry(tmp_path, sample(kind, full=True), {}, seconds=1.0)
    optional = {one.name for one in fields(kind) if type(None) in get_args(get_type_hints(kind)[one.name])}
    for part in PARTS:
        for name, key in keys_of(kind, part).items():
            less = replace(step, **{part: {k: v for k, v in getattr(step, part).items() if k != key}})
            if name in optional:
                assert getattr(kind.of(less), name) is None
            else:
                with pytest.raises(CorruptFileError, match=rf"^Step {step.id} of the history has no {part}\.{key}\. "):
                    kind.of(less)


def test_unknown_keys_of_later_versions_are_ignored(tmp_path):
    step = write_entry(tmp_path, sample(PrepareImagesEntry), {}, seconds=1.0)
    tables = {"new": [], "split": [row | {"new": 2} for row in step.tables["split"]]}
    more = replace(step, figures=step.figures | {"new": 1}, tables=step.tables | tables)
    assert PrepareImagesEntry.of(more) == sample(PrepareImagesEntry)


def test_settings_that_no_field_names_are_kept_together(tmp_path):
    entry = sample(TrainGanEntry, configuration={"optimizer": {"rate": 0.1}, "labels": ["a", "b"]})
    step = write_entry(tmp_path, entry, {}, seconds=1.0)
    assert step.settings["optimizer"] == {"rate": 0.1}
    assert TrainGanEntry.of(step) == entry


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"set": "train", "class": "a", "images": 1}, "has no groups"),
        ({"set": "train", "class": "a", "images": 1, "groups": 1.5}, "has groups of another type: '1.5'"),
        ({"set": "train", "class": "a", "images": True, "groups": 1}, "has images of another type"),
        ({"set": 1, "class": "a", "images": 1, "groups": 1}, "has set of another type"),
        ([], "is of another type"),
    ],
)
def test_a_row_of_another_form_is_refused(row, problem):
    with pytest.raises(CorruptFileError, match=f"^The table {problem}"):
        read_record(SplitRow, row, "The table")


def test_the_entry_of_another_verb_is_a_programmers_error(tmp_path):
    step = write_entry(tmp_path, sample(PrepareImagesEntry), {}, seconds=1.0)
    with pytest.raises(ValueError, match="reads steps of train_gan"):
        TrainGanEntry.of(step)


def test_the_figures_of_the_page_on_how_a_run_ended_are_written_by_their_verbs():
    from regan.runs import explain

    for kind in ENTRIES.values():
        assert set(kind.headline) <= set(keys_of(kind, "figures").values()), kind.verb
    assert {"go", "sentence"} <= set(keys_of(PreflightEntry, "settings").values())
    assert {"verdict", "sentence"} <= set(keys_of(CompareClassifiersEntry, "settings").values())
    assert explain.ENTRIES is ENTRIES


def test_a_field_that_was_renamed_keeps_its_key():
    assert keys_of(PrepareImagesEntry, "figures")["num_refused_by_saved_split"] == "num_refused_by_kept_split"
    assert keys_of(CompareClassifiersEntry, "settings")["previous_verdict"] == "last_verdict"
