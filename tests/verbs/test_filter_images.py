import numpy as np
import pytest

import regan
from regan.artifacts.history import last_step
from regan.artifacts.image_set import ImageSet, ImageSetWriter
from regan.artifacts.model import weights_hash
from regan.classifier.prediction import Classifier


@pytest.fixture(scope="module")
def raw(labelled_set):
    """Function that gives a synthetic set of one class: `raw("m", 8)`."""

    def make(label, seed, number=30, **settings):
        numbers = {"b": 0, "m": 0, label: number}
        return labelled_set(seed, origin="synthetic", training_index=[(f"real-{label}", "")], **numbers, **settings)

    return make


@pytest.fixture(scope="module")
def mixed(tmp_path_factory, labelled_set):
    """30 images called m, of which 12 have no disc: what a generator that often misses would make."""
    folder = tmp_path_factory.mktemp("mixed")
    discs, noise = ImageSet.open(labelled_set(11, b=0, m=18)), ImageSet.open(labelled_set(12, b=12, m=0))
    with ImageSetWriter(folder, size=32, channels=1, classes=("b", "m"), origin="synthetic", settings={}) as writer:
        for image in (*discs.images(), *noise.images()):
            writer.add(image, "m")
    return folder


def rows_of(path):
    return ImageSet.open(path).rows


def test_the_rule_none_takes_all_without_a_teacher(raw, tmp_path):
    result = regan.filter_images(raw("b", 8, 20), raw("m", 8, 30), "", tmp_path / "f", rule="none")
    assert (result.num_images, result.per_class) == (40, 20)
    assert (result.acceptance_negative, result.acceptance_positive) == (1, 1)
    assert ImageSet.open(result.path).counts == {"b": 20, "m": 20}
    assert "classifier" not in last_step(result.path).inputs


def test_kept_images_keep_their_pixels_bytes_and_origin(raw, tmp_path):
    negative, positive = raw("b", 8), raw("m", 8)
    result = regan.filter_images(negative, positive, "", tmp_path / "f", rule="none", per_class=5)
    offered = {}
    for path in (negative, positive):
        images = ImageSet.open(path)
        offered |= {row.sha256: (png, row) for png, row in zip(images.pngs(), images.rows)}
    kept = ImageSet.open(result.path)
    for png, row in zip(kept.pngs(), kept.rows):
        expected_png, expected = offered[row.sha256]
        assert png == expected_png
        for column in ("label", "group", "generator", "seed", "psi"):
            assert getattr(row, column) == getattr(expected, column)
    assert kept.origin == "synthetic"
    assert kept.training_index() == {("real-b", ""), ("real-m", "")}


def test_agreement_refuses_what_the_teacher_gives_the_other_class(raw, mixed, trained_classifier, tmp_path):
    result = regan.filter_images(raw("b", 8), mixed, trained_classifier, tmp_path / "f")
    teacher = Classifier.load(trained_classifier)
    called = teacher.probabilities(batch for batch, _ in ImageSet.open(mixed).batches(30)) >= teacher.threshold
    assert 0.5 < result.acceptance_positive < 0.7
    assert result.acceptance_positive == called.mean()
    accepted = {row.sha256 for row, agrees in zip(rows_of(mixed), called) if agrees}
    assert {row.sha256 for row in rows_of(result.path) if row.label == "m"} <= accepted
    assert last_step(result.path).settings["classifier"] == weights_hash(trained_classifier)


def test_confidence_asks_for_the_probability_of_the_own_class(raw, mixed, trained_classifier, tmp_path):
    negative, teacher = raw("b", 8), Classifier.load(trained_classifier)
    of_b, of_m = (
        teacher.probabilities(batch for batch, _ in ImageSet.open(path).batches(30)) for path in (negative, mixed)
    )
    confidence = float(np.median(np.append(1 - of_b, of_m[of_m > 0.5])))
    result = regan.filter_images(
        negative, mixed, trained_classifier, tmp_path / "f", rule="confidence", confidence=confidence
    )
    assert result.acceptance_negative == (1 - of_b >= confidence).mean()
    assert result.acceptance_positive == (of_m >= confidence).mean()


def test_several_parts_are_one_offer(raw, tmp_path):
    result = regan.filter_images(
        [raw("b", 8, 10), raw("b", 9, 12)], [raw("m", 8), raw("m", 9)], "", tmp_path / "f", rule="none"
    )
    assert result.per_class == 22
    assert {row.group.split("-")[0] for row in rows_of(result.path) if row.label == "b"} == {"8", "9"}


def test_a_pick_from_several_parts_is_spread_over_all_of_them(raw, tmp_path):
    result = regan.filter_images(
        [raw("b", 8, 20), raw("b", 9, 20)], raw("m", 8), "", tmp_path / "f", rule="none", per_class=20
    )
    groups = [row.group for row in rows_of(result.path) if row.label == "b"]
    first, second = ({name.split("-")[2] for name in groups if name.startswith(part)} for part in "89")
    assert 3 < len(first) < 17
    assert first != second
    assert ImageSet.open(result.path).counts == {"b": 20, "m": 20}


@pytest.mark.parametrize("rule", ["none", "agreement"])
def test_equal_images_are_offered_once_and_counted(raw, trained_classifier, tmp_path, rule):
    part = raw("b", 8, 10)
    result = regan.filter_images([part, part], raw("m", 8, 30), trained_classifier, tmp_path / "f", rule=rule)
    kept = [row.sha256 for row in rows_of(result.path)]
    assert len(set(kept)) == len(kept)
    assert result.acceptance_negative <= 1
    assert last_step(result.path).figures["num_duplicates"] == 10


def test_the_same_picture_in_both_classes_is_offered_to_neither(raw, labelled_set, tmp_path):
    noise = ImageSet.open(raw("b", 8, 10))
    folder = tmp_path / "same"
    folder.mkdir()
    with ImageSetWriter(folder, size=32, channels=1, classes=("b", "m"), origin="synthetic", settings={}) as writer:
        for image in [*noise.images(noise.rows[:4]), *ImageSet.open(raw("m", 8, 10)).images()]:
            writer.add(image, "m")
    result = regan.filter_images(noise.path, folder, "", tmp_path / "f", rule="none")
    assert result.per_class == 6
    assert not {row.sha256 for row in noise.rows[:4]} & {row.sha256 for row in rows_of(result.path)}


def test_the_seed_decides_the_pick(raw, tmp_path):
    picks = [
        {
            row.sha256
            for row in rows_of(
                regan.filter_images(
                    raw("b", 8), raw("m", 8), "", tmp_path / name, rule="none", per_class=5, seed=seed
                ).path
            )
        }
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert picks[0] == picks[1] != picks[2]


def test_the_history_tells_what_the_report_needs(raw, mixed, trained_classifier, tmp_path):
    result = regan.filter_images(raw("b", 8), mixed, trained_classifier, tmp_path / "f")
    step = last_step(result.path)
    negative, positive = step.tables["acceptance"]
    assert [row["class"] for row in (negative, positive)] == ["b", "m"]
    assert (positive["offered"], positive["kept"]) == (30, result.per_class)
    assert positive["acceptance"] == positive["accepted"] / 30 == result.acceptance_positive
    assert {"kept_b", "kept_m", "refused_m"} <= set(step.thumbnails)
    assert step.settings["rule"] == "agreement"
    assert step.inputs["classifier"] == [last_step(trained_classifier).id]


def test_sheets_of_large_images_stay_small(raw, tmp_path):
    result = regan.filter_images(raw("b", 8, size=256), raw("m", 8, size=256), "", tmp_path / "f", rule="none")
    sheets = last_step(result.path).thumbnails
    assert set(sheets) == {"kept_b", "kept_m"}
    assert sum(map(len, sheets.values())) < 100_000


def test_what_made_the_images_is_kept(raw, tmp_path):
    negative, positive = raw("b", 8, settings={"psi": 0.7}), raw("m", 8, settings={"psi": 0.7})
    result = regan.filter_images(negative, positive, "", tmp_path / "f", rule="none")
    assert ImageSet.open(result.path).settings["made_with"] == [{"psi": 0.7}]


def test_swapped_classes_are_refused(raw, trained_classifier, tmp_path):
    with pytest.raises(ValueError, match=r"`negative\[0\]` contains images of other classes than 'b'"):
        regan.filter_images(raw("m", 8), raw("b", 8), trained_classifier, tmp_path / "f")
    assert list(tmp_path.iterdir()) == []


def test_nothing_accepted_in_a_class_is_an_error_that_says_what_to_do(raw, labelled_set, trained_classifier, tmp_path):
    folder = tmp_path / "noise"
    folder.mkdir()
    with ImageSetWriter(folder, size=32, channels=1, classes=("b", "m"), origin="synthetic", settings={}) as writer:
        for image in ImageSet.open(labelled_set(13, b=10, m=0)).images():
            writer.add(image, "m")
    with pytest.raises(ValueError, match=r"accepted no images of class m\. Accepted: b \d+, m 0.*Generate more"):
        regan.filter_images(raw("b", 8), folder, trained_classifier, tmp_path / "f")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rule": "best"}, "Unknown rule='best': use one of none, agreement, confidence"),
        ({"confidence": 0.4}, "confidence=0.4 is out of range.*Use 0.5 to 1"),
        ({"per_class": -1}, "per_class=-1 is negative"),
        ({"per_class": 31}, "more than the accepted images of the rarer class"),
    ],
)
def test_a_wrong_setting_is_refused(raw, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        regan.filter_images(raw("b", 8), raw("m", 8), "", tmp_path / "f", **({"rule": "none"} | settings))


def test_sets_of_different_size_are_refused(raw, tmp_path):
    with pytest.raises(ValueError, match="differ in size"):
        regan.filter_images(raw("b", 8), raw("m", 8, size=64), "", tmp_path / "f", rule="none")


def test_an_empty_list_is_refused(raw, tmp_path):
    with pytest.raises(ValueError, match="No images in `negative`"):
        regan.filter_images([], raw("m", 8), "", tmp_path / "f", rule="none")
