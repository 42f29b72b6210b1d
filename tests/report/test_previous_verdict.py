import json
from dataclasses import replace

import pytest

from regan.artifacts.entries import CompareClassifiersEntry
from regan.artifacts.history import read_history
from regan.common.errors import CorruptFileError
from regan.report.page import render_report, write_report
from regan.report.previous_verdict import (
    VERDICT,
    VerdictRecord,
    finish_verdict,
    read_verdict,
    test_set_name,
    write_verdict,
)

test_set_name.__test__ = False

LAST = {
    "verdict": "inconclusive",
    "sentence": "Whether the student is non-inferior is not known.",
    "endpoint": "auc",
    "margin": 0.05,
    "difference": -0.031,
    "lower": -0.071,
    "upper": 0.009,
    "positive_class": "malignant",
    "num_images": 240,
    "num_positive": 120,
    "num_negative": 120,
    "date": "2026-10-01",
    "data_version": "data one",
    "run_key": "run one",
    "regan": "0.0.9",
    "test_set": "ab" * 32,
}

KEPT = VerdictRecord(**LAST)


def with_last(steps, last, **settings):
    """The same history with a previous verdict in its comparison."""
    name, compare = next((name, step) for name, step in steps.items() if step.verb == "compare_classifiers")
    told = compare.settings | {"last_verdict": last, "data_version": "data two"} | settings
    return dict(steps) | {name: replace(compare, settings=told)}


def section(html):
    assert html.count('<div class="previous" id="previous">') == 1
    return html.split('<div class="previous" id="previous">')[1].split("</div>\n<nav")[0]


def test_what_is_written_is_read_and_nothing_else_is_kept(tmp_path):
    write_verdict(tmp_path, KEPT, None, finished=True)
    assert read_verdict(tmp_path, "another run") == KEPT
    assert json.loads((tmp_path / VERDICT).read_text()) == LAST | {"format": 1, "before": None, "finished": True}


def test_the_record_of_a_comparison_is_what_its_entry_says(steps):
    compare = next(step for step in steps.values() if step.verb == "compare_classifiers")
    record = VerdictRecord.of(CompareClassifiersEntry.of(compare), date="2026-10-01", regan="1")
    assert (record.verdict, record.lower) == (compare.settings["verdict"], compare.figures["lower"])
    assert record.test_set == compare.settings["test_set"]


def test_a_comparison_without_a_run_key_gives_a_record_without_one(steps):
    compare = next(step for step in steps.values() if step.verb == "compare_classifiers")
    entry = replace(CompareClassifiersEntry.of(compare), run_key=None, data_version=None)
    record = VerdictRecord.of(entry, date="2026-10-01", regan="1")
    assert (record.run_key, record.data_version) == ("", "")


def test_a_previous_verdict_that_cannot_be_read_is_left_out_with_a_warning(steps, caplog):
    html = render_report(with_last(steps, {key: value for key, value in LAST.items() if key != "lower"}))
    assert 'id="previous"' not in html
    assert "The previous verdict is not shown. The previous verdict in the comparison has no lower." in caplog.text


def test_a_run_is_finished_once_and_only_by_itself(tmp_path):
    assert not finish_verdict(tmp_path, "run one")
    write_verdict(tmp_path, KEPT, None, finished=False)
    assert not finish_verdict(tmp_path, "another run")
    assert json.loads((tmp_path / VERDICT).read_text())["finished"] is False
    assert finish_verdict(tmp_path, "run one")
    assert json.loads((tmp_path / VERDICT).read_text())["finished"] is True
    assert not finish_verdict(tmp_path, "run one")
    assert read_verdict(tmp_path, "another run") == KEPT


def test_a_run_that_is_repeated_sees_the_verdict_before_its_own(tmp_path):
    write_verdict(tmp_path, KEPT, None, finished=True)
    assert read_verdict(tmp_path, "run one") is None
    write_verdict(tmp_path, replace(KEPT, run_key="run two", verdict="superior"), KEPT, finished=True)
    assert read_verdict(tmp_path, "run two") == KEPT
    assert read_verdict(tmp_path, "").verdict == "superior"


@pytest.mark.parametrize(
    "changed",
    [
        {"format": 2},
        {"difference": "much"},
        {"lower": float("nan")},
        {"sentence": ["a"]},
        {"num_images": None},
        {"verdict": None},
    ],
)
def test_a_verdict_that_is_none_is_refused(tmp_path, changed):
    (tmp_path / VERDICT).write_text(json.dumps(LAST | {"format": 1, "before": None} | changed))
    with pytest.raises(CorruptFileError, match="is not a verdict of format 1"):
        read_verdict(tmp_path, "")


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"format": 1, "run_key": "a"}'])
def test_a_file_that_holds_no_verdict_is_refused(tmp_path, text):
    (tmp_path / VERDICT).write_text(text)
    with pytest.raises(CorruptFileError, match="is not a verdict of format 1"):
        read_verdict(tmp_path, "")
    (tmp_path / VERDICT).unlink()
    with pytest.raises(CorruptFileError, match="is not a verdict of format 1"):
        read_verdict(tmp_path, "")


def test_a_test_set_has_one_name_in_any_order():
    assert test_set_name(["b", "a"]) == test_set_name(["a", "b"]) != test_set_name(["a", "c"])


def test_the_previous_verdict_stands_beside_the_new_one(steps):
    shown = section(render_report(with_last(steps, LAST)))
    for cell in (
        "Previous run, 2026-10-01",
        '<td>Non-inferior</td><td class="changed">Inconclusive</td>',
        "−0.031 (−0.071 to +0.009)",
        "<td>AUC</td><td>AUC</td>",
        '<td>300 (150 malignant)</td><td class="changed">240 (120 malignant)</td>',
        '<td>data two</td><td class="changed">data one</td>',
        "What differs: the data, the test images (60 images more). So the verdict may",
        "The previous verdict has no influence on this one.",
    ):
        assert cell in shown, cell


def test_the_same_test_images_are_said_to_be_the_same(steps):
    compare = next(step for step in steps.values() if step.verb == "compare_classifiers")
    same = LAST | {"test_set": compare.settings["test_set"], "data_version": "data two"}
    shown = section(render_report(with_last(steps, same)))
    assert '<p class="note">Both verdicts rest on the same test images.' in shown
    shown = section(render_report(with_last(steps, same | {"margin": 0.1})))
    assert "What differs: the margin. Both verdicts rest on the same test images." in shown


def test_a_page_without_an_address_has_no_such_part_and_the_first_one_says_that_it_is_the_first(steps):
    assert 'id="previous"' not in render_report(steps)
    assert "No verdict of an earlier run was found" in section(render_report(with_last(steps, {})))


def test_a_data_version_that_nobody_told_is_no_line(steps):
    shown = section(render_report(with_last(steps, LAST | {"data_version": ""}, data_version="")))
    assert "Data version" not in shown


def test_hostile_words_of_the_previous_verdict_are_shown_as_text(steps):
    hostile = "<script>alert('x')</script>"
    shown = render_report(with_last(steps, LAST | {"data_version": hostile, "verdict": hostile, "date": hostile}))
    assert "<script" not in shown


def test_a_place_that_the_data_version_names_stays_out_of_the_public_page(steps, tmp_path):
    last = LAST | {"data_version": "archive/Mustermann"}
    write_report(with_last(steps, last, data_version="gs://Mustermann"), tmp_path / "p.html", include_private=False)
    assert "Mustermann" not in (tmp_path / "p.html").read_text()


def test_what_the_saved_split_did_stands_with_the_images(steps):
    name, prepared = next((name, step) for name, step in steps.items() if step.verb == "prepare_images")
    assert "Saved split" not in render_report(steps)
    figures = {"split_version": 3, "num_known": 700, "num_new": 41, "num_gone": 5, "num_refused_by_kept_split": 2}
    html = render_report(dict(steps) | {name: replace(prepared, figures=prepared.figures | figures)})
    for said in (
        "700 known images, 41 new",
        "5 of earlier runs are no longer in the source",
        "2 files rejected because",
        "version 3 of the split",
    ):
        assert said in html


@pytest.mark.parametrize("width", [1280, 400])
def test_the_part_fits_on_the_page(chromium, steps, tmp_path, width):
    long = LAST | {"data_version": "sha256:" + "0123456789abcdef" * 4}
    write_report(with_last(steps, long), tmp_path / "report.html")
    chromium.messages.clear()
    chromium.open(tmp_path / "report.html", width, 800)
    assert chromium.messages == []
    assert chromium.value("document.documentElement.scrollWidth") == width
    box = "document.querySelector('#previous').getBoundingClientRect()"
    assert chromium.value(f"{box}.right") <= width
    assert chromium.value(f"{box}.height") > 100


def test_the_comparison_keeps_what_the_page_needs(report):
    settings = next(s for s in read_history(report).values() if s.verb == "compare_classifiers").settings
    assert "last_verdict" not in settings
    assert len(settings["test_set"]) == 64
