"""docs/scaling.md shows what docs/scaling.py computes, from sizes that our code has."""

import importlib.util
import math
import re
from collections import Counter
from pathlib import Path

import pytest

from regan.runs.stages import STAGES, least_steps

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def scaling():
    spec = importlib.util.spec_from_file_location("scaling", ROOT / "docs/scaling.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_shows_the_current_tables(scaling):
    page = scaling.PAGE.read_text()
    assert scaling.with_tables(page) == page, "run `python docs/scaling.py`"
    assert re.findall(r"<!-- table: (\w+) -->", page) == list(scaling.TABLES)


def test_steps_are_verbs_and_read_what_another_step_writes(scaling):
    written = {name for step in scaling.STEPS for name in step.writes}
    assert written == set(scaling.OUTPUTS)
    for step in scaling.STEPS:
        assert set(step.reads) <= written
        name = step.name.partition(" ")[0]
        assert name in ("preflight", "explain_run") or (ROOT / f"regan/verbs/{name}.py").is_file()


def test_steps_are_those_of_the_pipeline(scaling):
    times = Counter()
    for step in scaling.STEPS:
        times[step.name.partition(" ")[0]] += step.times
    assert times == {"explain_run": 1, **{stage.verb: least_steps(stage) for stage in STAGES}}


def test_sizes_are_those_of_the_networks(scaling):
    from regan.gan.configuration import configure
    from regan.gan.inputs import Stream, random_generator
    from regan.gan.networks import DiscriminatorNetwork, GeneratorNetwork

    config = configure("config-e", size=256, channels=1, labels=("benign", "malignant"))
    random = random_generator(0, Stream.WEIGHTS)
    generator = GeneratorNetwork.build(config, random)
    discriminator = DiscriminatorNetwork.build(config, random)

    def numbers(weights) -> int:
        return sum(math.prod(weight.shape) for weight in weights.values())

    g, d = numbers(generator.weights()), numbers(discriminator.weights())
    assert 4 * (g + numbers(generator.constants()) + config.style_size) == scaling.SNAPSHOT
    assert 4 * (3 * g + 2 * d + config.style_size + 3) == scaling.CHECKPOINT


def test_bytes_add_up_for_one_step(scaling):
    raw = scaling.image_set(25_000, 5)
    assert raw.objects == 25 + 1 + 1 + 1 + 5
    images = 25_000 * scaling.SYNTHETIC_PNG
    assert images < raw.bytes < 1.02 * images
    # 25 shards of 44 MB are 9 parts of 5 MiB each and two more requests; the index of 4.8 MB fits into one.
    assert raw.requests(5 * 2**20) == 25 * (9 + 2) + 8


def test_the_ceiling_of_the_gpu_that_was_computed_for_is_met_by_half(scaling):
    assert scaling.CHOSEN.name == "H200"
    assert scaling.CHOSEN.images_per_second == pytest.approx(500)


def test_costs_grow_in_proportion_to_the_runs(scaling):
    line = next(line for line in scaling.runs_table().splitlines() if line.startswith("| GPU hours"))
    one, ten, thousand = (float(cell.replace(",", "")) for cell in line.split("|")[2:5])
    assert ten == pytest.approx(10 * one, rel=0.01)
    assert thousand == pytest.approx(1000 * one, rel=0.01)


def test_every_source_that_a_table_names_is_listed(scaling):
    page = scaling.PAGE.read_text()
    named = {int(number) for number in re.findall(r"\[(\d+)\]", page)}
    listed = {int(number) for number in re.findall(r"^(\d+)\. ", page, re.MULTILINE)}
    assert named <= listed
