import hashlib
import json
import time

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from regan.common.errors import SettingError
from regan.preparation.phantom import LABELS, MARKER, phantom, phantom_image

TRAIN, TEST = 390, 150  # images a class


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_folder_holds_both_classes_as_grey_pngs_and_a_marker(tmp_path):
    made = phantom(tmp_path / "phantoms", per_class=3, size=32, seed=5)
    assert made.num_images == 6
    names = [f"{label}/{index:06d}.png" for label in LABELS for index in range(3)]
    assert sorted(files_of(made.path)) == sorted([*names, MARKER])
    with Image.open(made.path / names[0]) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "L", (32, 32))
    assert json.loads((made.path / MARKER).read_text())["seed"] == 5


def test_the_same_seed_gives_the_same_bytes_and_more_images_keep_the_first(tmp_path):
    few = files_of(phantom(tmp_path / "few", per_class=2, size=32, seed=1).path)
    many = files_of(phantom(tmp_path / "many", per_class=4, size=32, seed=1).path)
    other = files_of(phantom(tmp_path / "other", per_class=2, size=32, seed=2).path)
    pictures = [name for name in few if name.endswith(".png")]
    assert all(few[name] == many[name] for name in pictures)
    assert not any(few[name] == other[name] for name in pictures)


def test_no_two_images_are_alike():
    hashes = {hashlib.sha256(phantom_image(label, i, size=32)).hexdigest() for label in LABELS for i in range(50)}
    assert len(hashes) == 100


def test_a_whole_demo_set_takes_seconds():
    phantom_image("benign", 0)
    start = time.process_time()
    for index in range(50):
        phantom_image("malignant", index)
    assert (time.process_time() - start) / 50 * 1200 < 40  # 1,200 images; about 10 s on an idle core


def test_the_lesion_is_darker_than_what_surrounds_it_in_most_images():
    # The darkest eighth of the blurred picture lies together, and well below the mean, when there is a mass to see.
    visible = 0
    for label in LABELS:
        for index in range(100):
            blocks = phantom_image(label, index).reshape(8, 8, 8, 8).mean(axis=(1, 3))[2:6, 1:7]
            visible += blocks.min() < 0.7 * np.median(blocks)
    assert visible >= 180


@pytest.fixture(scope="module")
def reduced():
    """float `(n, 32, 32)` images, labels, and which rows train and test, as the demonstration cuts them."""
    images = [
        Image.fromarray(phantom_image(label, index)).resize((32, 32), Image.Resampling.LANCZOS)
        for label in LABELS
        for index in range(TRAIN + TEST)
    ]
    train = np.tile(np.arange(TRAIN + TEST) < TRAIN, 2)
    return np.stack([np.asarray(image, float) for image in images]), np.repeat([0, 1], TRAIN + TEST), train


def auc_of_a_linear_rule(features, labels, train):
    rule = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, C=0.1))
    rule.fit(features[train], labels[train])
    return roc_auc_score(labels[~train], rule.decision_function(features[~train]))


def test_a_thumbnail_does_not_tell_the_classes_apart(reduced):
    images, labels, train = reduced
    thumbnails = images.reshape(-1, 8, 4, 8, 4).mean(axis=(2, 4)).reshape(len(images), 64)
    assert auc_of_a_linear_rule(thumbnails, labels, train) < 0.85


def test_brightness_and_contrast_do_not_tell_the_classes_apart(reduced):
    images, labels, train = reduced
    brightness = np.column_stack([images.mean(axis=(1, 2)), images.std(axis=(1, 2))])
    assert auc_of_a_linear_rule(brightness, labels, train) < 0.65


@pytest.mark.slow
def test_a_small_network_tells_the_classes_apart(reduced):
    keras = pytest.importorskip("keras")
    images, labels, train = reduced
    keras.utils.set_random_seed(0)
    layers = [keras.Input((32, 32, 1)), keras.layers.Rescaling(1 / 127.5, offset=-1)]
    for filters in (16, 32, 64):
        layers += [
            keras.layers.Conv2D(filters, 3, padding="same", use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.MaxPooling2D(),
        ]
    model = keras.Sequential([*layers, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(2e-3), keras.losses.BinaryCrossentropy(from_logits=True))
    model.fit(images[train][..., None], labels[train], epochs=30, batch_size=32, verbose=0)
    assert roc_auc_score(labels[~train], model.predict(images[~train][..., None], verbose=0)[:, 0]) >= 0.90


@pytest.mark.parametrize("wrong", [{"per_class": 0}, {"size": 8}, {"size": 4096}, {"seed": -1}])
def test_a_setting_out_of_range_is_named_before_anything_is_written(tmp_path, wrong):
    (name, value), *_ = wrong.items()
    with pytest.raises(SettingError, match=f"`{name}` must be .* Received {name}={value}"):
        phantom(tmp_path / "phantoms", **wrong)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_label_is_named():
    with pytest.raises(SettingError, match=r"'normal'.*benign, malignant"):
        phantom_image("normal", 0)
