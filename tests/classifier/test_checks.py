import pytest

from regan.classifier.checks import (
    images_in_index,
    index_of,
    require_both_classes,
    require_disjoint,
    require_kind_of_model,
    require_same_kind,
    require_unique,
)
from regan.common.errors import OverlapError, TooFewImagesError, WrongArtifactError


def test_an_image_is_found_by_its_pixels_or_by_its_group(make_set):
    rows = make_set(b=3, m=3, group="patient").rows
    assert images_in_index(rows, {(rows[1].sha256, "")}) == [rows[1]]
    assert images_in_index(rows, {("", "patient-m-2")}) == [rows[5]]


def test_images_without_group_share_none(make_set):
    rows = make_set(b=3, m=3).rows
    assert images_in_index(rows, {("another", "")}) == []


def test_sets_apart_pass(make_set):
    require_disjoint(make_set(0), make_set(1))


def test_a_shared_image_is_refused(make_set):
    with pytest.raises(OverlapError, match=r"overlap with training data \(5 of 10 images\).*prepare_images"):
        require_disjoint(make_set(0, b=5), make_set(0, b=5, m=5))


def test_a_shared_group_is_refused(make_set):
    with pytest.raises(OverlapError, match=r"\(2 of 4 images\).*group p-"):
        require_disjoint(make_set(0, b=2, group="p"), make_set(1, b=2, m=2, group="p"))


def test_an_image_behind_synthetic_ones_is_refused(make_set):
    validation = make_set(1)
    synthetic = make_set(0, origin="synthetic", training_index=list(index_of(validation.rows))[:3])
    with pytest.raises(OverlapError, match="3 of 40 images"):
        require_disjoint(synthetic, validation)


def test_a_missing_class_is_named(make_set):
    with pytest.raises(TooFewImagesError, match=r"`validation` contains no images of class m\. .* b and m\."):
        require_both_classes(make_set(b=3), "validation")


def test_other_sizes_channels_and_classes_are_refused(make_set):
    grey = make_set(b=1, m=1)
    others = {
        "64 x 64": make_set(b=1, m=1, size=64),
        "RGB": make_set(b=1, m=1, channels=3),
        "classes m, b": make_set(b=1, m=1, classes=("m", "b")),
    }
    for what, other in others.items():
        with pytest.raises(WrongArtifactError, match=f"`images`: 32 x 32, grey, classes b, m; `validation`: .*{what}"):
            require_same_kind({"images": grey, "validation": other})
        with pytest.raises(WrongArtifactError, match=f"32 x 32, grey, classes b, m. Received .*{what}"):
            require_kind_of_model(other, "images", 32, 1, ["b", "m"])
    require_same_kind({"images": grey, "validation": make_set(1, b=2, m=2)})
    require_kind_of_model(grey, "images", 32, 1, ["b", "m"])


def test_an_image_that_stands_twice_is_refused(tmp_path, make_set):
    from regan.artifacts.image_set import ImageSet, ImageSetWriter

    one = make_set(b=2, m=2)
    with ImageSetWriter(tmp_path, size=32, channels=1, classes=("b", "m"), origin="real", settings={}) as writer:
        for png, row in zip([*one.pngs(), *one.pngs()], one.rows * 2):
            writer.add_png(png, row)
    with pytest.raises(WrongArtifactError, match="4 repeated images"):
        require_unique(ImageSet.open(tmp_path), "images")
    require_unique(one, "images")
