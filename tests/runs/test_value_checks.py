"""What each parameter may be, against what the steps take."""

from typing import get_args

import keras
import pytest

from regan.runs.checks import failed
from regan.runs.settings import settings_checks
from regan.runs.value_checks import ENDPOINTS, NETWORKS
from regan.statistics.comparison import Endpoint


def test_the_networks_are_those_that_keras_builds():
    assert set(NETWORKS) == {name for name in dir(keras.applications) if name[0].isupper()}


def test_the_endpoints_are_those_that_are_compared():
    assert get_args(Endpoint) == ENDPOINTS


@pytest.mark.parametrize("name", ["gan_features", "report_features"])
@pytest.mark.parametrize(
    "features",
    ["radiomic", "MobileNet", "MobileNet:m.weights.h5", "MobileNet/conv_pw_12_relu:cut.weights.h5", "/mnt/teacher"],
)
def test_all_that_makes_features_passes(name, features):
    assert settings_checks({name: features})[1] is not None


@pytest.mark.parametrize("backbone", ["small", "EfficientNetV2S"])
def test_each_backbone_passes(backbone):
    assert settings_checks({"classifier_backbone": backbone})[1] is not None


def test_a_kept_generator_needs_a_kept_split():
    checks, _ = settings_checks({"gan_start_uri": "gs://bucket/generators"})
    (check,) = failed(checks)
    assert check.expected.startswith("gan_start_uri needs data_split_uri")
    assert "Set data_split_uri" in check.advice
    kept = {"gan_start_uri": "gs://bucket/generators", "data_split_uri": "gs://bucket/split"}
    assert settings_checks(kept)[1] is not None
