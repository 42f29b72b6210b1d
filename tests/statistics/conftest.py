"""The independent implementation that the tests here compare with."""

import importlib.util
from pathlib import Path

import pytest

ORACLES = Path(__file__).resolve().parents[1] / "oracles"


@pytest.fixture(scope="session")
def oracle():
    spec = importlib.util.spec_from_file_location("paired_statistics", ORACLES / "paired_statistics.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
