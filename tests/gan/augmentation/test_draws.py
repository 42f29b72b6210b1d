import numpy as np
import pytest

from regan.gan.augmentation.draws import TRANSFORMS, draw_transforms

NUM, SIZE = 20_000, 64


@pytest.fixture(scope="module")
def drawn():
    return draw_transforms(np.random.default_rng(0), NUM, SIZE)


def test_every_transform_is_drawn_for_every_image_in_float32(drawn):
    assert set(drawn) == {"chance", *TRANSFORMS}
    assert all(len(value) == NUM and value.dtype == np.float32 for value in drawn.values())
    assert 0 <= drawn["chance"].min() < 1e-4
    assert 1 - 1e-4 < drawn["chance"].max() < 1


@pytest.mark.parametrize(
    ("name", "deviation"), [("zoom", 0.2), ("stretch", 0.2), ("contrast", 0.5), ("saturation", 1.0)]
)
def test_factors_are_lognormal_to_base_two(drawn, name, deviation):
    logarithm = np.log2(drawn[name])
    assert logarithm.mean() == pytest.approx(0, abs=4 * deviation / NUM**0.5)
    assert logarithm.std() == pytest.approx(deviation, rel=0.03)


def test_flips_and_quarter_turns_are_even(drawn):
    for name in ("flip", "luma_flip"):
        assert set(np.unique(drawn[name])) == {-1, 1}
        assert drawn[name].mean() == pytest.approx(0, abs=0.03)
    turns, counts = np.unique(drawn["turn"], axis=0, return_counts=True)
    assert {tuple(turn) for turn in turns} == {(1, 0), (0, 1), (-1, 0), (0, -1)}
    assert counts / NUM == pytest.approx([0.25] * 4, abs=0.02)


def test_shifts_are_whole_pixels_up_to_an_eighth_and_slides_normal(drawn):
    assert np.array_equal(drawn["shift"], np.rint(drawn["shift"]))
    assert np.abs(drawn["shift"]).max() == SIZE / 8
    assert drawn["slide"].std(axis=0) == pytest.approx([SIZE / 8] * 2, rel=0.03)
    assert drawn["brightness"].std() == pytest.approx(0.2, rel=0.03)


@pytest.mark.parametrize("name", ["rotation_before", "rotation_after", "hue"])
def test_angles_go_all_round(drawn, name):
    assert drawn[name].std() == pytest.approx(2 * np.pi / 12**0.5, rel=0.02)
    assert np.abs(drawn[name]).max() <= np.float32(np.pi)
