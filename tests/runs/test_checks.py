from regan.runs.checks import WIDTH, Check, failures, markdown_table, text_table

CHECKS = [
    Check("GPU", "none | at all", "1", "no", "Ask for one."),
    Check("driver", "<script>alert(1)</script>"),
    Check("disk", "66 GB free", "1 GB", "yes"),
]


def test_only_what_did_not_pass_has_failed():
    assert [check.name for check in failures(CHECKS)] == ["GPU"]
    assert Check.from_result("a", "1", "2", False, "b").advice == "b"
    assert Check.from_result("a", "2", "2", True, "b") == Check("a", "2", "2", "yes")


def test_the_table_has_a_line_for_each_check_and_nothing_in_it_draws():
    lines = markdown_table(CHECKS).splitlines()
    assert lines[0] == "| check | found | expected | ok |"
    assert len(lines) == 2 + len(CHECKS)
    assert "none \\| at all" in lines[2]
    assert "<script>" not in "".join(lines)


def test_the_log_shows_what_failed_at_the_start_of_the_line():
    assert [line[:4] for line in text_table(CHECKS).splitlines()] == ["FAIL", "    ", "ok  "]


def test_the_log_has_a_short_aligned_line_for_each_check_and_the_file_all_of_it():
    long = [*CHECKS, Check("a long name", "found " * 40, "much " * 40, "yes", detail="the detail")]
    lines = text_table(long).splitlines()
    assert len(lines) == len(long)
    assert max(map(len, lines)) <= WIDTH
    assert {line[5 + len("a long name") :][:2] for line in lines} == {"  "}
    assert "much" not in lines[-1]
    assert "the detail" not in lines[-1]
    assert "; the detail | much much" in markdown_table(long)


def test_a_warning_is_no_failure_and_says_below_what_to_do():
    warning = Check("matrix product", "3 GFLOP/s", "30 or more", "warn", "Wait until the machine is idle. " * 5)
    assert failures([warning]) == []
    first, *advice = text_table([warning]).splitlines()
    assert first == "WARN matrix product  3 GFLOP/s"
    assert len(advice) > 1
    assert max(map(len, advice)) <= WIDTH
    assert "Wait until the machine is idle." in markdown_table([warning])
