"""The settings that every step of the pipeline is wired from."""

import dataclasses

import pytest

from pipelines.steps import Settings

SETTINGS = Settings({"gan_kimg": "a channel"}, conditional=True, rounds=1, generation_shards=1)


def test_a_parameter_is_an_attribute():
    assert SETTINGS.gan_kimg == "a channel"
    assert SETTINGS.conditional is True


def test_a_parameter_that_the_pipeline_lacks_is_named():
    with pytest.raises(AttributeError, match=r"The pipeline has no parameter gan_kmig\."):
        _ = SETTINGS.gan_kmig


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        SETTINGS.rounds = 2
