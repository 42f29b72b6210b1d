"""What the pages say: links lead somewhere, words are ours, tables are the code's."""

import math
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

import regan
from regan.gan.configuration import PRESETS, configure
from regan.statistics.verdict import Interval, verdict

ROOT = Path(__file__).resolve().parents[2]
TOP = ("README.md", "CONTRIBUTING.md", "AGENTS.md", "CHANGELOG.md")
PAGES = [ROOT / name for name in TOP] + [p for top in ("docs", "images") for p in sorted((ROOT / top).rglob("*.md"))]
HOSTS = {"arxiv.org", "doi.org", "github.com", "semver.org"}  # what a page may link to outside
MOST_LINES = {"CONTRIBUTING.md": 59, "AGENTS.md": 39, "docs/adr": 39}

# What no line of a page says, and why.
UNWANTED = {
    r"\bfake\b(?!\")": "we say synthetic",
    r"state[- ]of[- ]the[- ]art|cutting[- ]edge|seamless|effortless|powerful|leverag|revolution": "no marketing",
    r"\b(TODO|FIXME|XXX|TBD)\b": "finish it or leave it out",
    r"(?<![\w./$:])/(?!dev/shm|work\b)[a-z]+/[a-z]": "no paths of one machine",
    r"^(?!.*(Inception|papers)).*\bFID\b": "FID is on the 2015-12-05 Inception graph only",
}


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def rows(page: Path, start: str) -> list[list[str]]:
    """The body of the first table after `start`."""
    lines = page.read_text().partition(start)[2].splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("|"))
    table = [line for line in lines[first:] if line.startswith("|") or not line.strip()]
    body = lines[first + 2 : first + next((n for n, line in enumerate(table) if not line.strip()), len(table))]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in body]


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page):
    shown = re.sub("<!--.*?-->", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", shown):
        if target.startswith("http"):
            assert target.startswith("https://")
            assert target.split("/")[2] in HOSTS, f"{target}: no page may need this host"
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{name_of(page)} links to {target}, which does not exist"
        if anchor:
            assert anchor in anchors(linked), f"{name_of(page)} links to {target}; no such heading"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_page_has_an_unwanted_word(page):
    for number, line in enumerate(page.read_text().splitlines(), start=1):
        for pattern, reason in UNWANTED.items():
            found = re.search(pattern, line)
            assert not found, f"{name_of(page)}:{number}: {found[0]!r}, but {reason}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_of_rules_stays_short(page):
    most = next((lines for start, lines in MOST_LINES.items() if name_of(page).startswith(start)), math.inf)
    assert len(page.read_text().splitlines()) <= most


def test_decisions_are_numbered_one_after_the_other():
    decisions = sorted((ROOT / "docs" / "adr").glob("*.md"))
    assert [int(path.name[:4]) for path in decisions] == list(range(1, len(decisions) + 1))
    for path in decisions:
        assert path.read_text().startswith(f"# {int(path.name[:4])}. ")


@pytest.mark.parametrize("page", [ROOT / "AGENTS.md", ROOT / "CONTRIBUTING.md"], ids=name_of)
def test_a_path_in_an_index_exists(page):
    for path in re.findall(r"`([\w.]+/[\w./]*)`", page.read_text()):
        top = ROOT / path.split("/")[0]
        assert (ROOT / path).exists() or not top.exists(), f"{name_of(page)} names {path}"


def test_the_extras_of_the_readme_are_those_of_the_package():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    listed = {row[0].strip("`") for row in rows(ROOT / "README.md", "## Install")}
    assert listed == extras.keys() - {"dev"}


def test_the_examples_of_verdicts_get_these_verdicts():
    for outcome, interval, _ in rows(ROOT / "README.md", "## How to read the verdict"):
        lower, upper = (float(text) for text in interval.split(" to "))
        judged = verdict(Interval((lower + upper) / 2, lower, upper), margin=0.05)
        assert f"`{judged.outcome}`" == outcome


def test_the_changelog_and_the_commands_carry_this_version():
    assert f"## {regan.__version__}" in (ROOT / "CHANGELOG.md").read_text()
    tags = set(re.findall(r"regan-[cg]pu:([\w.]+)", (ROOT / "README.md").read_text()))
    assert tags == {regan.__version__}


def table_of_presets() -> dict[str, dict[str, float]]:
    """Row title -> preset -> value, as docs/networks.md has them."""
    listed = rows(ROOT / "docs" / "networks.md", "A test compares this table")
    return {title: dict(zip(PRESETS, map(float, values), strict=True)) for title, *values in listed}


def test_the_table_of_presets_is_that_of_the_code():
    table = table_of_presets()
    for preset in PRESETS:
        config = configure(preset, size=256, channels=1, labels=("benign", "malignant"))
        expected = {
            "feature maps at size R: 2 x this / R": config.base_maps,
            "feature maps, maximum": config.max_maps,
            "dimension of z and of w": config.latent_size,
            "mapping layers": config.mapping_layers,
            "minibatch size": config.batch_size,
            "learning rate": config.learning_rate,
            "R1 weight gamma at 256 x 256": config.r1_gamma,
            "half-life of the moving average, kimg": config.average_kimg,
            "training length, kimg": config.kimg,
        }
        assert {title: table[title][preset] for title in expected} == pytest.approx(expected, rel=2e-3)
        assert config.style_size == config.latent_size


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_the_networks_have_as_many_parameters_as_the_table_says(preset):
    from regan.gan.networks import DiscriminatorNetwork, GeneratorNetwork

    config = configure(preset, size=256, channels=1, labels=("benign", "malignant"))
    table = table_of_presets()
    for network, title in (
        (GeneratorNetwork, "generator parameters at 256 x 256, grey, two classes"),
        (DiscriminatorNetwork, "discriminator parameters"),
    ):
        weights = network.build(config, np.random.default_rng(0)).weights()
        assert sum(math.prod(value.shape) for value in weights.values()) == table[title][preset]
