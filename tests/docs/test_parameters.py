"""docs/parameters.md and README show the table of parameters."""

import importlib.util
import re
from pathlib import Path

import pytest

from regan.runs.parameters import PARAMETERS
from regan.runs.verb_parameters import VERB_PARAMETERS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def page():
    spec = importlib.util.spec_from_file_location("parameters", ROOT / "docs/parameters.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["README.md", "docs/parameters.md"])
def test_the_tables_are_those_of_the_code(page, name):
    text = (ROOT / name).read_text()
    assert page.with_tables(text) == text, "run `python docs/parameters.py`"


def test_every_table_is_shown_once_and_every_parameter_in_it(page):
    texts = "".join(path.read_text() for path in page.PAGES)
    shown = [name for name in re.findall(r"<!-- table: ([\w ]+) -->", texts) if name.startswith("parameter")]
    assert sorted(shown) == sorted(page.TABLES)
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/parameters.md").read_text(), re.MULTILINE)
    assert rows == [*PARAMETERS, *(name.partition(".")[2] for name in VERB_PARAMETERS)]


def test_the_first_word_of_every_parameter_is_explained(page):
    words = set(re.findall(r"`(\w+)_`", page.prefixes_table()))
    parameters = {name for name, row in PARAMETERS.items() if row.stage != "graph"}
    assert {name.partition("_")[0] for name in parameters} == words
