import dataclasses

import numpy as np
import pytest

from regan.common.errors import CorruptFileError, SettingError
from regan.gan.inputs import Stream, random_generator
from regan.gan.networks import GeneratorNetwork
from regan.gan.sampling import (
    STYLE_MEAN,
    Generator,
    Mixing,
    snapshot_kimg,
    snapshots,
    surplus_snapshots,
    write_snapshot,
)


def weights_of(config):
    """Weights as drawn, but with noise that matters."""
    network = GeneratorNetwork.build(config, random_generator(config.seed, Stream.WEIGHTS))
    weights = {path: np.asarray(value) for path, value in (network.weights() | network.constants()).items()}
    strengths = {path: np.float32(0.3) for path in weights if path.endswith("noise_strength")}
    return weights | strengths | {STYLE_MEAN: np.full(config.style_size, 0.1, np.float32)}


@pytest.fixture(scope="module")
def generator(config):
    return Generator(config, weights_of(config), classes=("benign", "malignant"))


def images_of(generator, seeds, label="benign", psi=1.0, **settings):
    return np.concatenate(list(generator.images(seeds, label, psi, **settings)))


def test_the_same_seed_gives_the_same_bytes_in_any_company(generator):
    together = images_of(generator, range(100))
    assert together.shape == (100, 32, 32, 1)
    assert together.dtype == np.uint8
    assert np.array_equal(images_of(generator, [63, 64, 65]), together[63:66])
    assert np.array_equal(images_of(generator, range(37, 100)), together[37:])
    assert np.array_equal(images_of(generator, reversed(range(100)))[::-1], together)


def test_seeds_classes_and_psi_give_different_images(generator):
    base = images_of(generator, [1])
    assert not np.array_equal(images_of(generator, [2]), base)
    assert not np.array_equal(images_of(generator, [1], "malignant"), base)
    assert not np.array_equal(images_of(generator, [1], psi=0.5), base)


def test_psi_of_zero_gives_the_mean_image_whatever_the_seed(generator):
    first, second = images_of(generator, [1, 2], psi=0.0, noise="none")
    assert np.array_equal(first, second)
    assert not np.array_equal(*images_of(generator, [1, 2], psi=0.0, noise="random"))
    assert np.array_equal(*images_of(generator, [1, 2], psi=0.0, noise="constant"))


def test_a_cutoff_leaves_the_fine_styles_where_they_were_drawn(generator):
    styles = generator.config.num_styles
    seeds = [1, 2]
    assert np.array_equal(
        images_of(generator, seeds, psi=0.0, truncation_cutoff=styles), images_of(generator, seeds, psi=0.0)
    )
    assert np.array_equal(images_of(generator, seeds, psi=0.0, truncation_cutoff=0), images_of(generator, seeds))


def test_mixing_takes_the_coarse_styles_of_one_seed_and_the_fine_ones_of_another(generator):
    one, other = images_of(generator, [1], noise="none"), images_of(generator, [2], noise="none")
    styles = generator.config.num_styles
    mixed = {cut: images_of(generator, [1], noise="none", mixing=Mixing([2], cut)) for cut in (1, 4, styles - 1)}
    assert all(not np.array_equal(image, whole) for image in mixed.values() for whole in (one, other))
    # The last style colours the image, the first one draws it.
    distance = {cut: np.abs(image.astype(int) - one).mean() for cut, image in mixed.items()}
    assert distance[1] > distance[4] > distance[styles - 1] > 0
    assert np.array_equal(images_of(generator, [1], noise="none", mixing=Mixing([1], 4)), one)


def test_mixed_images_too_are_the_same_in_any_company(generator):
    together = images_of(generator, range(70), mixing=Mixing(range(100, 170), 3))
    assert np.array_equal(images_of(generator, [66], mixing=Mixing([166], 3)), together[66:67])


@pytest.mark.parametrize("settings", [{"truncation_cutoff": 9}, {"truncation_cutoff": -1}, {"mixing": Mixing([1], 8)}])
def test_more_styles_than_there_are_are_refused(generator, settings):
    with pytest.raises(SettingError, match="takes 8 styles"):
        generator.images([1], "benign", **settings)


def test_no_seeds_give_no_batches(generator):
    assert list(generator.images([], "benign")) == []


def test_an_unknown_class_is_answered_with_the_known_ones(generator):
    with pytest.raises(SettingError, match=r"benign, malignant.*label='cyst'"):
        generator.images([1], "cyst")


def test_an_unknown_kind_of_noise_is_refused(generator):
    with pytest.raises(SettingError, match="'random', 'constant' or 'none'"):
        generator.images([1], "benign", noise="loud")


def test_weights_of_another_configuration_are_refused(generator, config):
    with pytest.raises(CorruptFileError, match="weights do not match the configuration"):
        Generator(dataclasses.replace(config, size=64), weights_of(config))


def test_a_snapshot_is_a_generator(tmp_path, config, generator):
    weights = weights_of(config)
    path = write_snapshot(tmp_path, 12.0, config, weights, classes=("benign", "malignant"), training_index={("a", "g")})
    assert path.name == "kimg-000012.0"
    assert snapshots(tmp_path) == [path]
    assert snapshot_kimg(path) == 12.0
    loaded = Generator.load(path)
    assert (loaded.size, loaded.channels, loaded.kimg) == (32, 1, 12.0)
    assert loaded.conditional
    assert len(loaded.hash) == 64
    assert np.array_equal(images_of(loaded, [5]), images_of(generator, [5]))


def test_too_few_seeds_to_mix_with_are_refused(generator):
    with pytest.raises(SettingError, match="fewer mixing seeds than seeds"):
        images_of(generator, [1, 2], mixing=Mixing([3], 4))


def test_a_snapshot_is_named_by_what_it_surely_has(tmp_path, config):
    # Rounded up, the name would be that of a snapshot beyond the checkpoint from which a run goes on.
    names = {}
    for kimg in (80.064, 0.1, 0.3, 2.0, 24.048):
        settings = {"classes": ("b", "m"), "training_index": ()}
        names[kimg] = snapshot_kimg(write_snapshot(tmp_path, kimg, config, weights_of(config), **settings))
    assert names == {80.064: 80.0, 0.1: 0.1, 0.3: 0.3, 2.0: 2.0, 24.048: 24.0}


def test_what_a_killed_process_left_of_a_snapshot_goes_when_it_is_written_again(tmp_path, config):
    left = tmp_path / "snapshots" / ".kimg-000012.0.partial-x1y2"
    left.mkdir(parents=True)
    (left / "weights.safetensors").write_bytes(b"half")
    write_snapshot(tmp_path, 12.0, config, weights_of(config), classes=("b", "m"), training_index=())
    assert [path.name for path in (tmp_path / "snapshots").iterdir()] == ["kimg-000012.0"]


def test_an_unconditional_generator_makes_its_one_class(config):
    single = dataclasses.replace(config, labels=("malignant",))
    generator = Generator(single, weights_of(single), classes=("benign", "malignant"))
    assert not generator.conditional
    assert images_of(generator, [1], "malignant").shape == (1, 32, 32, 1)


def thinned(num, keep):
    kept = []
    for number in range(num):
        kept.append(float(number))
        removed = surplus_snapshots(kept, keep)
        kept = [kimg for kimg in kept if kimg not in removed]
    return kept


def test_snapshots_are_thinned_evenly_with_the_newest_dense():
    kept = thinned(1250, 25)
    assert len(kept) == 25
    assert kept[0] == 0
    assert kept[-5:] == [1245, 1246, 1247, 1248, 1249]
    gaps = np.diff(kept[:-5])
    assert gaps.max() <= 4 * np.median(gaps)


def test_no_more_snapshots_than_may_stay_are_left_alone():
    assert surplus_snapshots([1.0, 2.0, 3.0], 3) == []
    assert thinned(3, 2) == [0.0, 2.0]
