"""Times of a schedule, as the scheduler of Kubeflow Pipelines reads them."""

from datetime import UTC, datetime

import pytest

from pipelines.cron import check_cron, parse_time


@pytest.mark.parametrize(
    "text",
    [
        "0 0 2 * * *",
        "30 15 10 1 * ?",
        "0 */15 8-18 * * MON-FRI",
        "0 0 9 ? * 2-6",
        "0 0 0 1,15 jan,JUL *",
        "0 0 2/6 * 1-12/3 0,6",
        "59 59 23 31 12 6",
    ],
)
def test_six_fields_are_taken(text):
    assert check_cron(text) == text


def test_spaces_are_made_single():
    assert check_cron(" 0  0 2 * *   SUN ") == "0 0 2 * * SUN"


def test_five_fields_would_start_a_run_each_hour_and_are_refused():
    with pytest.raises(ValueError, match=r"'0 2 \* \* \*' has five fields, .* Put the seconds first: '0 0 2"):
        check_cron("0 2 * * *")


@pytest.mark.parametrize("text", ["", "@daily", "0 0 2 * * * 2027"])
def test_another_number_of_fields_is_refused(text):
    with pytest.raises(ValueError, match="does not have six fields"):
        check_cron(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("60 0 2 * * *", "invalid seconds field: '60'. Use 0 to 59, "),
        ("0 0 24 * * *", "invalid hours field: .* 0 to 23, "),
        ("0 0 2 0 * *", "invalid day of the month field: .* 1 to 31, "),
        ("0 0 2 * 13 *", "invalid month field: .* 1 to 12 or JAN to DEC, "),
        ("0 0 2 * * 7", "invalid day of the week field: .* 0 to 6 or SUN to SAT, "),
        ("0 0 2 * * SUNDAY", "field: 'SUNDAY'"),
        ("0 0 MON * * *", "field: 'MON'"),
        ("0 0 5-2 * * *", "field: '5-2'"),
        ("0 0 */0 * * *", r"field: '\*/0'"),
        ("0 0 2, * * *", "field: ''"),
        ("0 0 -2 * * *", "field: '-2'"),
    ],
)
def test_a_field_that_the_scheduler_could_not_read_is_named(text, words):
    with pytest.raises(ValueError, match=words):
        check_cron(text)


@pytest.mark.parametrize("seconds", ["*", "*/10", "0,30"])
def test_nobody_retrains_several_times_a_minute(seconds):
    with pytest.raises(ValueError, match="would start several runs a minute"):
        check_cron(f"{seconds} 0 2 * * *")


def test_a_moment_is_turned_into_utc():
    assert parse_time("2027-01-31T02:00:00+01:00", "--start") == datetime(2027, 1, 31, 1, tzinfo=UTC)
    assert parse_time("", "--start") is None


@pytest.mark.parametrize("text", ["tomorrow", "2027-01-31", "2027-01-31T02:00:00"])
def test_a_moment_without_its_offset_is_refused(text):
    with pytest.raises(ValueError, match=r"--end .* is not a date and time with its offset from UTC"):
        parse_time(text, "--end")
