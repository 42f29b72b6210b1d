import hashlib
import shutil

import numpy as np
import pytest
from PIL import Image

from regan.common.errors import FilesChangedError, SourceError
from regan.preparation.inspection import inspect_source, prepared_image
from regan.preparation.phantom import phantom
from regan.preparation.sources import open_source

SETTINGS = {"negative_class": "", "positive_class": "", "mask_pattern": "*_mask*", "size": 32, "channels": 1}


@pytest.fixture
def folder(tmp_path):
    return phantom(tmp_path / "source", per_class=4, size=64).path


def inspected(folder, **changes):
    with open_source(folder) as source:
        return inspect_source(source, **SETTINGS | changes)


def by_name(found):
    return {image.file.name: image for image in found.images}


def test_the_source_is_the_hash_of_the_files_bytes_and_groups_hold_no_name(folder):
    found = inspected(folder)
    assert len(found.images) == 8
    for image in found.images:
        digest = hashlib.sha256((folder / image.file.name).read_bytes()).hexdigest()
        assert (image.source, image.group) == (digest[:16], f"g{digest[:16]}")
    assert (found.classes, found.refused, found.num_duplicates) == (("benign", "malignant"), (), 0)


def test_groups_and_order_depend_on_neither_names_nor_size(folder, tmp_path):
    shutil.copy(folder / "benign/000001.png", folder / "benign/copy.png")
    renamed = tmp_path / "renamed"
    for path in sorted(folder.rglob("*.png")):
        (renamed / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, renamed / path.parent.name / f"{hashlib.md5(path.name.encode()).hexdigest()}.png")
    first, second, larger = inspected(folder), inspected(renamed), inspected(folder, size=128)
    seen = [[(image.source, image.group, image.label) for image in found.images] for found in (first, second, larger)]
    assert seen[0] == seen[1] == seen[2]


def test_copies_and_near_copies_are_one_group_named_by_its_smallest_member(folder):
    originals = sorted(folder.rglob("*.png"))
    for path in originals:
        shutil.copy(path, path.with_name(f"copy of {path.name}"))
        with Image.open(path) as image:
            image.resize((90, 100)).save(path.with_suffix(".jpg"))
    found = inspected(folder)
    for path in originals:
        names = (path, path.with_name(f"copy of {path.name}"), path.with_suffix(".jpg"))
        members = [by_name(found)[name.relative_to(folder).as_posix()] for name in names]
        assert {member.group for member in members} == {"g" + min(member.source for member in members)}
    assert len({image.group for image in found.images}) == 8
    assert found.num_duplicates == 8


def test_a_picture_under_both_labels_is_refused_in_every_copy(folder):
    shutil.copy(folder / "benign/000001.png", folder / "malignant/same.png")
    shutil.copy(folder / "benign/000001.png", folder / "benign/again.png")
    found = inspected(folder)
    refused = {refusal.file: refusal for refusal in found.refused}
    assert set(refused) == {"benign/000001.png", "benign/again.png", "malignant/same.png"}
    assert {refusal.reason for refusal in refused.values()} == {"label conflict"}
    assert refused["malignant/same.png"].detail == "the same picture as benign/000001.png, benign/again.png"
    assert (len(found.images), found.num_label_conflicts) == (7, 1)


def test_a_picture_that_resembles_one_of_the_other_class_is_marked_as_of_a_mixed_group(folder):
    with Image.open(folder / "benign/000001.png") as image:
        image.resize((80, 80)).save(folder / "malignant/similar.png")
    found = inspected(folder)
    images = by_name(found)
    assert found.mixed_groups == {images["benign/000001.png"].group} == {images["malignant/similar.png"].group}


def test_what_resembles_a_picture_under_both_labels_stays_in_a_mixed_group(folder):
    shutil.copy(folder / "benign/000001.png", folder / "malignant/same.png")
    with Image.open(folder / "benign/000001.png") as image:
        image.resize((80, 80)).save(folder / "benign/similar.png")
    found = inspected(folder)
    assert found.mixed_groups == {by_name(found)["benign/similar.png"].group}


def test_damaged_files_are_refused_and_the_others_are_taken(folder):
    (folder / "benign/000000.png").write_bytes((folder / "benign/000000.png").read_bytes()[:300])
    (folder / "benign/000001.png").write_text("not an image")
    (folder / "loose.png").write_bytes((folder / "benign/000002.png").read_bytes())
    found = inspected(folder)
    assert {refusal.file: refusal.reason for refusal in found.refused} == {
        "benign/000000.png": "corrupt",
        "benign/000001.png": "not a PNG or JPEG picture",
        "loose.png": "no class folder",
    }
    assert len(found.images) == 6


def test_where_a_class_has_no_usable_picture_the_reasons_are_told(folder):
    for path in (folder / "malignant").iterdir():
        path.write_text("not an image")
    with pytest.raises(SourceError, match=r"in 'malignant'.*4 files.*000000\.png \(not a PNG or JPEG picture\)"):
        inspected(folder)


def test_where_every_file_is_refused_the_reasons_are_told(folder):
    for path in folder.rglob("*.png"):
        path.write_text("not an image")
    with pytest.raises(SourceError, match=r"in 'benign' and 'malignant'.*8 files"):
        inspected(folder)


def test_enlarged_pictures_and_phantoms_are_marked(folder):
    assert inspected(folder).is_phantom
    (folder / "phantom.json").unlink()
    found = inspected(folder, size=128)
    assert not found.is_phantom
    assert all(image.enlarged for image in found.images)
    assert not any(image.enlarged for image in inspected(folder, size=64).images)


def test_real_pictures_beside_phantoms_are_not_taken_for_phantoms(folder, tmp_path):
    both = tmp_path / "both"
    shutil.copytree(folder, both / "simulated")
    assert inspected(both).is_phantom
    (both / "real" / "benign").mkdir(parents=True)
    with Image.open(folder / "benign/000000.png") as image:
        image.rotate(90).save(both / "real/benign/1.png")
    assert not inspected(both).is_phantom


def test_a_picture_that_changes_between_the_passes_is_an_error(folder):
    with open_source(folder) as source:
        image = inspect_source(source, **SETTINGS).images[0]
        assert prepared_image(source, image, size=32, channels=1).shape == (32, 32, 1)
        other = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
        Image.fromarray(other).save(folder / image.file.name)
        with pytest.raises(FilesChangedError, match="it contains another picture"):
            prepared_image(source, image, size=32, channels=1)
        (folder / image.file.name).unlink()
        with pytest.raises(FilesChangedError, match=r"changed while the source was being read: unreadable"):
            prepared_image(source, image, size=32, channels=1)


def test_the_picture_and_its_perceptual_hash_are_the_same_at_any_size_number_of_channels_and_in_any_file(folder):
    with Image.open(folder / "benign/000001.png") as image:
        image.convert("RGB").save(folder / "benign/again.png", compress_level=0)
    seen = [inspected(folder, **changes) for changes in ({}, {"size": 128}, {"channels": 3})]
    marks = [[(image.file.name, image.picture, image.perceptual_hash) for image in found.images] for found in seen]
    assert marks[0] == marks[1] == marks[2]
    assert by_name(seen[0])["benign/again.png"].picture == by_name(seen[0])["benign/000001.png"].picture
    assert len({image.picture for image in seen[0].images}) == 8
