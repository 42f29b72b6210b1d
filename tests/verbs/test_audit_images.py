import csv
import json

import numpy as np
import pytest

import regan
from regan.artifacts.history import last_step, read_history
from regan.artifacts.image_set import ImageSet, ImageSetWriter
from regan.preparation.phantom import LABELS, phantom_image

TRAIN, VALIDATION, SYNTHETIC = 0, 1, 2  # seeds


@pytest.fixture(scope="module")
def image_set(tmp_path_factory):
    """Function that writes labelled images as an image set: `image_set({label: images})`."""

    def make(images, *, origin="real", training_index=(), group=""):
        folder = tmp_path_factory.mktemp("images")
        kind = {"size": next(iter(images.values())).shape[1], "channels": 1, "classes": LABELS, "settings": {}}
        with ImageSetWriter(folder, **kind, origin=origin, training_index=training_index) as writer:
            for label, pictures in images.items():
                for picture in pictures:
                    writer.add(picture, label, group=group)
        return folder

    return make


def pictures(seed, per_class, labels=LABELS):
    return {
        label: np.stack([phantom_image(label, i, size=32, seed=seed) for i in range(per_class)])[..., None]
        for label in labels
    }


@pytest.fixture(scope="module")
def train(image_set):
    return image_set(pictures(TRAIN, 80))


@pytest.fixture(scope="module")
def validation(image_set):
    return image_set(pictures(VALIDATION, 20))


@pytest.fixture(scope="module")
def fresh():
    return pictures(SYNTHETIC, 60)


def planted(fresh, train, change, number=12):
    """Fresh images of which the first ones of each class are changed copies of training images."""
    real = ImageSet.open(train)
    copies = {label: change(np.stack(list(real.images(real.with_label(label)[:number])))) for label in fresh}
    return {label: np.concatenate([copies[label], fresh[label][number:]]) for label in fresh}


def test_images_of_the_same_kind_pass_and_lie_at_the_floor(train, validation, fresh, image_set, tmp_path):
    found = regan.audit_images(image_set(fresh, origin="synthetic"), train, validation, tmp_path / "audit")
    assert (found.path, found.verdict, found.num_memorised) == (tmp_path / "audit", "passed", 0)
    summary = json.loads((found.path / "audit.json").read_text())
    assert summary["verdict"] == "passed"
    assert abs(found.kernel_distance) < 4 * summary["kernel_distance_standard_error"]
    for measure, tolerance in (("frechet_distance", 8), ("precision", 0.15), ("recall", 0.15), ("coverage", 0.15)):
        assert summary[measure] == getattr(found, measure)
        assert summary[measure] == pytest.approx(summary[f"floor_{measure}"], abs=tolerance)
    assert summary["num_compared"] == 20

    step = last_step(found.path)
    names = [row["measure"] for row in step.tables["audit"]]
    assert names == [
        *("kernel_distance", "frechet_distance", "precision", "recall", "density", "coverage"),
        *("nearest_feature_distance", "share_memorised"),
    ]
    assert [row["limit"] for row in step.tables["audit"]] == [None] * 7 + [0.01]
    assert step.settings["verdict"] == "passed"
    assert set(step.thumbnails) == {"nearest_synthetic"}
    assert set(step.private_thumbnails) == {"nearest_real"}
    assert step.counts == {"num_synthetic": 120, "num_train": 160, "num_validation": 40}


CHANGES = {
    "plain": lambda x: x,
    "mirrored": lambda x: x[:, :, ::-1],
    "shifted": lambda x: np.roll(x, (2, -1), axis=(1, 2)),
    "shifted and mirrored": lambda x: np.roll(x[:, :, ::-1], (-1, 2), axis=(1, 2)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_planted_copies_are_found_and_fail(train, validation, fresh, image_set, tmp_path, change):
    synthetic = image_set(planted(fresh, train, CHANGES[change]), origin="synthetic")
    found = regan.audit_images(synthetic, train, validation, tmp_path / "audit")
    assert (found.verdict, found.num_memorised) == ("failed", 24)
    with (found.path / "nearest.csv").open() as file:
        rows = list(csv.DictReader(file))
    real = ImageSet.open(train)
    for label, start in zip(LABELS, (0, 60)):
        part = rows[start : start + 60]
        assert [row["memorised"] for row in part] == ["True"] * 12 + ["False"] * 48
        assert [row["nearest_sha256"] for row in part[:12]] == [row.sha256 for row in real.with_label(label)[:12]]


def test_pictures_of_copies_stay_private(train, validation, fresh, image_set, tmp_path):
    synthetic = image_set(planted(fresh, train, CHANGES["plain"], number=1), origin="synthetic")
    found = regan.audit_images(synthetic, train, validation, tmp_path / "audit", max_memorised=0.5)
    step = last_step(found.path)
    assert (found.verdict, found.num_memorised) == ("passed", 2)
    assert step.thumbnails == {}
    assert set(step.private_thumbnails) == {"nearest_synthetic", "nearest_real"}


def test_the_share_that_passes_is_the_callers_choice(train, validation, fresh, image_set, tmp_path):
    synthetic = image_set(planted(fresh, train, CHANGES["plain"], number=3), origin="synthetic")
    verdicts = [
        regan.audit_images(synthetic, train, validation, tmp_path / f"{limit}", max_memorised=limit).verdict
        for limit in (0.04, 0.05)
    ]
    assert verdicts == ["failed", "passed"]


def test_mixed_up_classes_are_seen(train, validation, fresh, image_set, tmp_path):
    benign, malignant = LABELS
    mixed = {benign: fresh[malignant], malignant: fresh[benign]}
    straight, wrong = (
        regan.audit_images(image_set(images, origin="synthetic"), train, validation, tmp_path / name)
        for name, images in (("straight", fresh), ("mixed", mixed))
    )
    assert wrong.kernel_distance > straight.kernel_distance + 0.1


def test_a_collapsed_generator_covers_little(train, validation, fresh, image_set, tmp_path):
    noise = np.random.default_rng(0).normal(0, 2, (60, 32, 32, 1))
    collapsed = {label: np.clip(images[:1] + noise, 0, 255).astype(np.uint8) for label, images in fresh.items()}
    found = regan.audit_images(image_set(collapsed, origin="synthetic"), train, validation, tmp_path / "audit")
    assert found.coverage < 0.1
    assert found.recall < 0.1
    assert found.kernel_distance > 1


def test_one_class_is_audited_against_its_own_kind(train, validation, fresh, image_set, tmp_path):
    benign = image_set({"benign": fresh["benign"]}, origin="synthetic")
    found = regan.audit_images(benign, train, validation, tmp_path / "audit")
    assert abs(found.kernel_distance) < 0.1


def test_few_held_out_images_still_give_an_audit(train, fresh, image_set, tmp_path):
    validation = image_set(pictures(VALIDATION, 3))
    synthetic = image_set(planted(fresh, train, CHANGES["mirrored"], number=5), origin="synthetic")
    found = regan.audit_images(synthetic, train, validation, tmp_path / "audit")
    assert (found.verdict, found.num_memorised) == ("failed", 10)
    summary = json.loads((found.path / "audit.json").read_text())
    assert summary["held_out"] == "6 validation images and 160 training images left out in turn"
    assert summary["measures"][0]["floor"] is None
    assert "floor_kernel_distance" not in summary


def test_images_are_measured_on_one_of_our_classifiers(trained_classifier, labelled_set, tmp_path):
    synthetic, train = labelled_set(7, b=20, m=20, origin="synthetic"), labelled_set(0, b=96, m=96)
    found = regan.audit_images(
        synthetic, train, labelled_set(1, b=30, m=30), tmp_path / "audit", features=str(trained_classifier)
    )
    step = last_step(found.path)
    assert step.settings["extractor"] == "classifier small"
    assert found.verdict == "passed"


def test_the_history_of_every_input_is_kept(train, validation, fresh, image_set, tmp_path):
    synthetic = image_set(fresh, origin="synthetic")
    before = regan.audit_images(synthetic, train, validation, tmp_path / "first")
    assert [step.verb for step in read_history(before.path).values()] == ["audit_images"]
    assert (before.path / "history").is_dir()


def test_same_seed_same_bytes(train, validation, fresh, image_set, tmp_path):
    synthetic = image_set(fresh, origin="synthetic")
    one, same = (regan.audit_images(synthetic, train, validation, tmp_path / name).path for name in "ab")
    for name in ("audit.json", "measures.csv", "nearest.csv"):
        assert (one / name).read_bytes() == (same / name).read_bytes()


def test_validation_images_that_were_trained_on_are_refused(train, fresh, image_set, tmp_path):
    leaked = image_set(pictures(TRAIN, 10))
    with pytest.raises(ValueError, match="20 of 20 that are training images"):
        regan.audit_images(image_set(fresh, origin="synthetic"), train, leaked, tmp_path / "audit")
    assert not list(tmp_path.iterdir())


def test_validation_images_of_trained_patients_are_refused(fresh, image_set, tmp_path):
    train, validation = image_set(pictures(TRAIN, 10), group="p"), image_set(pictures(VALIDATION, 10), group="p")
    with pytest.raises(ValueError, match="share a group"):
        regan.audit_images(image_set(fresh, origin="synthetic"), train, validation, tmp_path / "audit")


def test_another_training_set_than_the_generators_is_refused(train, validation, fresh, image_set, tmp_path):
    synthetic = image_set(fresh, origin="synthetic", training_index=[("elsewhere", "")])
    with pytest.raises(ValueError, match="lacks 1 of them"):
        regan.audit_images(synthetic, train, validation, tmp_path / "audit")


def test_images_of_another_size_are_refused(train, validation, image_set, tmp_path):
    small = {label: np.repeat(np.repeat(images, 2, 1), 2, 2) for label, images in pictures(SYNTHETIC, 10).items()}
    with pytest.raises(ValueError, match="synthetic with 64 pixels"):
        regan.audit_images(image_set(small), train, validation, tmp_path / "audit")


@pytest.mark.parametrize("limit", [-0.1, 1.5])
def test_an_impossible_limit_is_refused(train, validation, tmp_path, limit):
    with pytest.raises(ValueError, match="`max_memorised`"):
        regan.audit_images(train, train, validation, tmp_path / "audit", max_memorised=limit)


def test_too_few_synthetic_images_are_refused(train, validation, image_set, tmp_path):
    with pytest.raises(ValueError, match="too few images for an audit, which needs 8"):
        regan.audit_images(image_set(pictures(SYNTHETIC, 2)), train, validation, tmp_path / "audit")
