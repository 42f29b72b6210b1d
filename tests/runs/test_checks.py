from regan.runs.checks import Check, failed, markdown_table, text_table

CHECKS = [
    Check("GPU", "none | at all", "1", "no", "Ask for one."),
    Check("driver", "<script>alert(1)</script>"),
    Check("disk", "66 GB free", "1 GB", "yes"),
]


def test_only_what_did_not_pass_has_failed():
    assert [check.name for check in failed(CHECKS)] == ["GPU"]
    assert Check.judged("a", "1", "2", False, "b").advice == "b"
    assert Check.judged("a", "2", "2", True, "b") == Check("a", "2", "2", "yes")


def test_the_table_has_a_line_for_each_check_and_nothing_in_it_draws():
    lines = markdown_table(CHECKS).splitlines()
    assert lines[0] == "| check | found | expected | ok |"
    assert len(lines) == 2 + len(CHECKS)
    assert "none \\| at all" in lines[2]
    assert "<script>" not in "".join(lines)


def test_the_log_shows_what_failed_at_the_start_of_the_line():
    assert [line[:4] for line in text_table(CHECKS).splitlines()] == ["FAIL", "    ", "ok  "]
