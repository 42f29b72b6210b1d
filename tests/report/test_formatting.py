import pytest

from regan.report import formatting

NBSP = "\N{NO-BREAK SPACE}"


@pytest.mark.parametrize(
    ("value", "text"),
    [(25000, "25,000"), (0.95833, "0.958"), (-0.5, "−0.500"), (None, "not known"), ("a", "a"), (float("nan"), "nan")],
)
def test_numbers_have_separators_three_decimals_and_a_true_minus(value, text):
    assert formatting.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0123, "+0.012"), (-0.045, "−0.045"), (0.0001, "0.000"), (-0.0001, "0.000")]
)
def test_differences_carry_their_sign_but_zero_has_none(value, text):
    assert formatting.signed(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0012345, "0.00123"),
        (12.345, "12.3"),
        (4560.0, "4,560"),
        (0, "0"),
        (0.0, "0"),
        (32, "32"),
        (214_018, "214,018"),
        (1.5e-9, "1.50 × 10^−9"),
        (None, "not known"),
    ],
)
def test_significant_digits_fit_numbers_of_any_size(value, text):
    assert formatting.significant(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.0004, "< 0.001"), (0.0312, "0.031"), (1.0, "1.000"), (None, "–")])
def test_p_values_are_never_written_as_zero(value, text):
    assert formatting.p_value(value) == text


def test_minus_signs_stand_before_numbers_only():
    text = "non-inferior: -0.020, 95 % interval -.041 to +0.001, mid-p, 2-3"
    assert formatting.typographic(text) == f"non-inferior: −0.020, 95{NBSP}% interval −.041 to +0.001, mid-p, 2-3"


def test_shares_are_percentages():
    assert formatting.percent(0.6133) == f"61.3{NBSP}%"


def test_intervals_need_both_ends():
    assert formatting.interval(0.1, 0.25) == "0.100 to 0.250"
    assert formatting.interval(-0.1, 0.25, sign=True) == "−0.100 to +0.250"
    assert formatting.interval(None, 0.25) == "not known"


def test_nested_settings_become_dotted_names_in_their_order():
    settings = {"optimizer": {"rate": 0.1, "betas": [0, 0.99]}, "label": "", "mirror": True}
    assert formatting.flat(settings) == [
        ("optimizer.rate", "0.1"),
        ("optimizer.betas", "0, 0.99"),
        ("label", "not set"),
        ("mirror", "True"),
    ]


def test_truth_values_are_no_numbers():
    assert not formatting.is_number(True)
    assert formatting.plural(1, "image") == "1 image"
    assert formatting.plural(2, "image") == "2 images"
    assert formatting.plain(0.010) == "0.01"
