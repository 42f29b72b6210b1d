"""docs/errors.md shows the errors of the code."""

import importlib.util
from pathlib import Path

import pytest

from regan.runs.error_table import SIGNS, error_classes

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def errors():
    spec = importlib.util.spec_from_file_location("errors_page", ROOT / "docs/errors.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_command_writes(errors):
    assert errors.PAGE.read_text() == errors.page(), "run `python docs/errors.py`"


def test_the_page_has_a_row_for_every_error(errors):
    rows = [line.split("|")[1].split("(")[0].strip() for line in errors.page().splitlines() if line.startswith("|")]
    assert [name for name in (*error_classes(), *(sign.name for sign in SIGNS)) if rows.count(name) != 1] == []


def test_a_row_names_the_built_in_class_that_catches_the_error(errors):
    assert "| NoFilesError (FileNotFoundError) |" in errors.page()
    assert "| MissingLibraryError (ImportError) |" in errors.page()


def test_the_readme_links_to_the_page():
    assert "(docs/errors.md)" in (ROOT / "README.md").read_text().partition("## Further reading")[2]
