import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from regan.artifacts.entry import Curve
from regan.report import figures


def line_figure(label="training", name="loss"):
    lines = [figures.Line(label, [1, 2, 3], [3.0, 2.0, 1.5], "#0072B2")]
    return figures.line_figure(
        [*lines, figures.Line("other", [1, 2, 3], [2, 2, 2], "#C04A00")], name, title="Loss", x_label="epoch"
    )


def difference_figure():
    rows = [figures.Difference("Student − teacher", -0.02, -0.041, 0.0004), figures.Difference("B", 0.1, 0.05, 0.2)]
    return figures.difference_figure(rows, 0.05, "AUC", "differences")


def roc_figure():
    line = figures.Line("Teacher, AUC 0.970", [0, 0, 1], [0, 1, 1], "#0072B2")
    return figures.roc_figure([(line, (0.1, 0.9))], "malignant", "benign", "roc")


def distance_figure():
    rows = [figures.Distance(k, 1 / k, 0.01) for k in (1.0, 2.0, 4.0)]
    return figures.distance_figure(rows, "d", title="Kernel distance", kept=4.0, floor=0.1)


ALL = [line_figure, difference_figure, roc_figure, distance_figure]


@pytest.mark.parametrize("draw", ALL)
def test_the_same_numbers_give_the_same_bytes(draw):
    assert draw() == draw()


@pytest.mark.parametrize("draw", ALL)
def test_figures_keep_to_a_strict_content_policy(draw):
    text = draw()
    root = ET.fromstring(text)
    assert root.tag == "svg"
    for element in root.iter():
        assert element.tag not in ("style", "script", "metadata", "image")
        assert "style" not in element.attrib
        assert not [key for key in element.attrib if key.startswith("on")]
        assert element.attrib.get("href", "#").startswith("#")


@pytest.mark.parametrize("draw", ALL)
def test_ids_are_referred_to_and_begin_with_the_name_of_the_figure(draw):
    root = ET.fromstring(draw())
    ids = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
    used = re.findall(r"(?:href=\"#|url\(#)([^\")]+)", draw())
    title = root.attrib["aria-labelledby"]
    assert len(ids) == len(set(ids))
    assert set(used) | {title} == set(ids)
    assert len({name.split("-")[0] for name in ids}) == 1


@pytest.mark.parametrize("draw", ALL)
def test_every_figure_says_in_words_what_it_shows(draw):
    title = ET.fromstring(draw()).find("title")
    assert title is not None
    assert title.text
    assert re.search(r"\d", title.text)


def test_two_figures_of_one_page_share_no_id():
    ids = [set(re.findall(r' id="([^"]+)"', line_figure(name=name))) for name in ("one", "two")]
    assert ids[0]
    assert not ids[0] & ids[1]


@pytest.mark.parametrize("label", ["<script>alert(1)</script>", "$\\frac{1}{0}$", "50 % \x00 \x1b", "良性", "a&b"])
def test_labels_are_text_whatever_they_hold(label):
    root = ET.fromstring(line_figure(label=label))
    shown = [element.text for element in root.iter("text")]
    assert "".join(c if c.isprintable() else "?" for c in label) in shown


def test_the_interval_is_written_beside_its_name():
    assert "Student − teacher: −0.020 (−0.041 to 0.000)" in difference_figure()


def test_the_kept_snapshot_and_the_floor_are_marked():
    text = distance_figure()
    assert "selected: 4.0 kimg" in text
    assert "floor: real against real" in text


def test_distances_without_errors_or_selected_snapshot_are_drawn():
    text = figures.distance_figure([figures.Distance(1.0, 0.5)], "d", title="Kernel distance", kept=7.0, floor=0.1)
    assert "of 1 snapshots; selected: none marked" in text


def test_points_that_are_no_numbers_are_dropped():
    curve = Curve([0, 1, "2", None, 4], [1, None, 3, 4, 5.5], "", "")
    assert figures.points(curve) == ([0.0, 4.0], [1.0, 5.5])
    assert figures.points(None) == ([], [])


def test_a_short_curve_is_drawn_as_it_is_and_a_long_one_as_its_running_mean():
    short, long = np.random.default_rng(0).normal(size=59), np.random.default_rng(0).normal(size=200)
    np.testing.assert_array_equal(figures.smooth(short), short)
    # In the middle, the window of a twenty-fifth (8 points) covers four before the point and three after it.
    assert figures.smooth(long)[100] == pytest.approx(long[96:104].mean())
    np.testing.assert_allclose(figures.smooth(np.full(200, 2.5)), 2.5)


def test_matplotlib_is_left_as_it_was():
    import matplotlib

    before = dict(matplotlib.rcParams)
    line_figure()
    assert dict(matplotlib.rcParams) == before
