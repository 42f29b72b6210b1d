import importlib.util
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from regan import backend
from regan.gan.augmentation.draws import TRANSFORMS, draw_transforms
from regan.gan.augmentation.transforms import augment
from regan.gan.augmentation.wavelet import SYM6

ORACLE = Path(__file__).resolve().parents[2] / "oracles" / "adaptive_augmentation.py"
GREY_COMPUTES = tuple(name for name in TRANSFORMS if name not in ("hue", "saturation"))


@pytest.fixture(scope="module")
def oracle():
    spec = importlib.util.spec_from_file_location(ORACLE.stem, ORACLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def random():
    return np.random.default_rng(0)


@pytest.fixture
def float64():
    for name in ("float64", "float32"):
        keras.config.set_floatx(name)
        if name == "float64":
            yield


def images_of(random, num=4, size=32, channels=3, dtype=np.float32):
    return random.uniform(-1, 1, (num, size, size, channels)).astype(dtype)


def drawn_for(random, num, size, *used):
    """Draws of which these transforms alone are used at a strength of one half, and at any up to one."""
    drawn = draw_transforms(random, num, size)
    chance = np.full((num, len(TRANSFORMS)), 1.0, np.float32)
    chance[:, [TRANSFORMS.index(name) for name in used]] = 0.0
    return drawn | {"chance": chance}


def augmented(images, drawn, strength=1.0):
    tensors = {name: ops.convert_to_tensor(value) for name, value in drawn.items()}
    return np.asarray(augment(ops.convert_to_tensor(images), tensors, ops.convert_to_tensor(np.float32(strength))))


def expected_of(oracle, images, drawn, used):
    return np.stack(
        [
            oracle.augmented(image, {name: drawn[name][number] for name in used}, SYM6)
            for number, image in enumerate(images)
        ]
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_at_strength_zero_images_come_back_to_the_last_bit(channels, random):
    images = images_of(random, channels=channels)
    drawn = draw_transforms(random, 4, 32)
    compiled = backend.jit(augment)
    tensors = {name: ops.convert_to_tensor(value) for name, value in drawn.items()}
    result = compiled(ops.convert_to_tensor(images), tensors, ops.convert_to_tensor(np.float32(0)))
    assert np.asarray(result).tobytes() == images.tobytes()


def test_a_strength_between_uses_the_transforms_whose_chance_lies_below(random):
    images = images_of(random, num=8)
    drawn = draw_transforms(random, 8, 32)
    strength = np.sort(drawn["chance"].min(axis=1))[4]
    limits = np.array([1 - np.sqrt(1 - strength) if "rotation" in name else strength for name in TRANSFORMS])
    used = drawn["chance"] < limits
    result = augmented(images, drawn, strength)
    untouched = [np.array_equal(one, other) for one, other in zip(result, images, strict=True)]
    assert 0 < sum(untouched) < 8
    assert all(untouched[number] for number in np.flatnonzero(~used.any(axis=1)))


@pytest.mark.parametrize(("name", "limit"), [("rotation_before", 0.5), ("rotation_after", 0.5), ("zoom", 0.75)])
def test_at_three_quarters_each_rotation_is_used_half_the_time_so_that_one_of_both_is_at_three_quarters(
    name, limit, random
):
    images = images_of(random, num=2)
    drawn = drawn_for(random, 2, 32)
    drawn["chance"][:, TRANSFORMS.index(name)] = [limit - 0.01, limit + 0.01]
    result = augmented(images, drawn, 0.75)
    assert not np.array_equal(result[0], images[0])
    assert np.array_equal(result[1], images[1])


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("channels", [1, 3])
def test_each_transform_equals_the_matrices_of_the_paper(name, channels, random, oracle):
    images = images_of(random, channels=channels)
    drawn = drawn_for(random, 4, 32, name)
    expected = expected_of(oracle, images, drawn, [name])
    assert augmented(images, drawn) == pytest.approx(expected, abs=3e-4)
    if channels == 3 or name in GREY_COMPUTES:
        assert np.abs(expected - images).max() > 1e-3
    else:
        assert np.array_equal(augmented(images, drawn), images)


@pytest.mark.parametrize("channels", [1, 3])
def test_all_transforms_together_are_used_in_the_order_of_the_paper(channels, random, oracle):
    images = images_of(random, channels=channels)
    drawn = drawn_for(random, 4, 32, *TRANSFORMS)
    assert augmented(images, drawn) == pytest.approx(expected_of(oracle, images, drawn, TRANSFORMS), abs=2e-3)


def test_flips_turns_and_shifts_move_whole_pixels(random):
    images = images_of(random, num=3)
    drawn = drawn_for(random, 3, 32, "flip") | {"flip": np.float32([-1, 1, -1])}
    assert np.array_equal(augmented(images, drawn)[[0, 2]], images[[0, 2], :, ::-1])
    assert np.array_equal(augmented(images, drawn)[1], images[1])
    drawn = drawn_for(random, 3, 32, "turn") | {"turn": np.float32([[0, 1], [-1, 0], [0, -1]])}
    turned = [np.rot90(image, number) for number, image in enumerate(images, start=1)]
    assert np.array_equal(augmented(images, drawn), np.stack(turned))
    drawn = drawn_for(random, 3, 32, "shift") | {"shift": np.float32([[2, 0], [0, -3], [4, 1]])}
    shifted = augmented(images, drawn)
    assert np.array_equal(shifted[0, 2:], images[0, :-2])
    assert np.array_equal(shifted[0, :2], images[0, 2:0:-1])  # what comes in is the mirror image
    assert np.array_equal(shifted[1, :, :-3], images[1, :, 3:])
    assert np.array_equal(shifted[2, 4:, 1:], images[2, :-4, :-1])


@pytest.mark.parametrize("name", ["zoom", "rotation_before", "stretch", "rotation_after", "slide"])
def test_a_transform_by_nothing_is_the_identity_away_from_the_border(name, random):
    images = images_of(random)
    drawn = drawn_for(random, 4, 32, name)
    drawn[name] = np.full_like(drawn[name], float(name in ("zoom", "stretch")))
    assert augmented(images, drawn)[:, 6:-6, 6:-6] == pytest.approx(images[:, 6:-6, 6:-6], abs=1e-4)


def test_a_blob_goes_where_the_rotation_and_the_slide_say(random):
    # Centre of mass of a smooth blob, in pixels right and down of the image's centre.
    def centre(image):
        y, x = np.mgrid[:64, :64] - 31.5
        return np.array([(image * x).sum(), (image * y).sum()]) / image.sum()

    y, x = np.mgrid[:64, :64] - 31.5
    blob = np.exp(-((x - 8) ** 2 + (y - 4) ** 2) / 18)[None, :, :, None].astype(np.float32)
    drawn = drawn_for(random, 1, 64, "rotation_before") | {"rotation_before": np.float32([np.pi / 2])}
    assert centre(augmented(blob, drawn)[0, :, :, 0]) == pytest.approx([4, -8], abs=0.05)
    drawn = drawn_for(random, 1, 64, "slide") | {"slide": np.float32([[2.5, -1.25]])}
    assert centre(augmented(blob, drawn)[0, :, :, 0]) == pytest.approx([8 - 1.25, 4 + 2.5], abs=0.05)
    drawn = drawn_for(random, 1, 64, "zoom") | {"zoom": np.float32([1.5])}
    assert centre(augmented(blob, drawn)[0, :, :, 0]) == pytest.approx([12, 6], abs=0.05)


def test_a_third_of_a_turn_of_the_hue_makes_red_green(random):
    images = images_of(random)
    drawn = drawn_for(random, 4, 32, "hue") | {"hue": np.full(4, 2 * np.pi / 3, np.float32)}
    assert augmented(images, drawn) == pytest.approx(np.roll(images, 1, axis=3), abs=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_gradients_to_the_second_order_equal_numerical_differences(channels, random, float64):
    if backend.NAME == "jax":
        pytest.skip("Keras computes sines and whole parts in float32 on JAX")
    images = images_of(random, num=2, channels=channels, dtype=np.float64)
    drawn = {n: ops.convert_to_tensor(v) for n, v in drawn_for(random, 2, 32, *TRANSFORMS).items()}
    weight = random.standard_normal(images.shape)

    def energy(x):
        return ops.sum(ops.sin(augment(x, drawn, ops.convert_to_tensor(1.0, "float64"))) * weight)

    def penalty(x):
        return ops.sum(ops.square(backend.gradient(energy)(x)))

    direction = random.standard_normal(images.shape)
    for function in (energy, penalty):
        slope = np.asarray(backend.gradient(function)(ops.convert_to_tensor(images)))
        ahead, behind = (float(function(ops.convert_to_tensor(images + h * direction))) for h in (1e-5, -1e-5))
        assert (slope * direction).sum() == pytest.approx((ahead - behind) / 2e-5, rel=1e-6)


def test_images_of_a_batch_do_not_touch_each_other(random):
    images, drawn = images_of(random), draw_transforms(random, 4, 32)
    alone = np.concatenate(
        [augmented(images[k : k + 1], {n: v[k : k + 1] for n, v in drawn.items()}) for k in range(4)]
    )
    assert augmented(images, drawn) == pytest.approx(alone, abs=1e-4)
