import json

import pytest

from regan.common.text import duration, is_number, markdown_table, markdown_text, one_line, printable


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (0.3, "under 1 s"),
        (42.4, "42 s"),
        (59.7, "1 min 0 s"),
        (190, "3 min 10 s"),
        (19_200, "5 h 20 min"),
        (4_320_000, "1,200 h 0 min"),
        (None, "not known"),
        ("5", "not known"),
        (float("inf"), "not known"),
    ],
)
def test_a_duration_has_the_two_units_that_say_enough(seconds, shown):
    assert duration(seconds) == shown


@pytest.mark.parametrize("text", ["0", "-1.5", "1e300", "17179869184"])
def test_finite_numbers_of_a_file_can_be_shown(text):
    assert is_number(json.loads(text))


@pytest.mark.parametrize("text", ["true", "null", '"1"', "NaN", "1e999", "[1]", "1" + "0" * 400])
def test_what_cannot_be_shown_as_a_number_is_none(text):
    assert not is_number(json.loads(text))


def test_signs_that_a_terminal_acts_on_become_question_marks():
    assert printable("é 乳.png") == "é 乳.png"
    assert printable("a\x1b[2J\n\udcff.png") == "a?[2J??.png"


def test_one_line_is_printable_and_of_bounded_length():
    assert one_line("a\nb\x1b[31mc\u202e") == "a b?[31mc?"
    assert len(one_line("x" * 10_000)) == 500
    assert one_line("x" * 10_000).endswith("x ...")
    assert len(one_line("x" * 10_000, None)) == 10_000


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[a](http://b)", "\\[a\\](http://b)"),
        ("![a](b)", "!\\[a\\](b)"),
        ("<b>x</b> & y", "&lt;b&gt;x&lt;/b&gt; &amp; y"),
        ("a | `b` \\ *c* ~d~", "a \\| \\`b\\` \\\\ \\*c\\* \\~d\\~"),
        ("# 1 #2", "\\# 1 #2"),
        ("prepare_images _x_", "prepare_images \\_x\\_"),
        ("a\n\n# b", "a # b"),
    ],
)
def test_text_draws_nothing_in_markdown(text, shown):
    assert markdown_text(text) == shown


def test_a_table_keeps_its_columns_whatever_its_cells_hold():
    lines = markdown_table(("name", "value"), [("a|b\n", 1), ("", None)]).splitlines()
    assert lines == ["| name | value |", "| --- | --- |", "| a\\|b | 1 |", "|  | None |"]
