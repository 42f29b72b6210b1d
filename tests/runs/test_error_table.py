"""The table of causes: our errors by their class, texts of other programs by real sentences."""

import ast
import re
from pathlib import Path

import pytest

from regan.runs.error_table import CANCELLED, SIGNS, UNKNOWN, cause_of, causes_in, error_classes

ROOT = Path(__file__).resolve().parents[2]
CLASSES = error_classes()
# Rooms whose errors are being converted to classes; empty when all are.
NOT_RAISED_YET = {
    "SourceError",
    "NoFilesError",
    "UnsupportedURIError",
    "OutputExistsError",
    "OutputError",
    "DiskFullError",
    "CorruptFileError",
    "WrongArtifactError",
    "TooFewImagesError",
    "OverlapError",
    "StorageAccessError",
    "StorageUnavailableError",
    "CheckpointMismatchError",
    "MissingWeightsError",
    "MissingLibraryError",
    "UnsafeFileError",
}
EXAMPLES = [(sign.name, pattern, example) for sign in SIGNS for pattern, example in sign.texts]


def names_in(text: str) -> list[str]:
    return [cause.name for cause in causes_in(text)]


def raised_names() -> set[str]:
    """Classes that the source calls, as in `raise NoFilesError(...)`, outside the file that defines them."""
    found = set()
    for top in ("regan", "components", "pipelines"):
        for path in (ROOT / top).rglob("*.py"):
            if path != ROOT / "regan" / "common" / "errors.py":
                calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
                found |= {call.id for call in calls if isinstance(call, ast.Name)}
    return found


def test_every_error_of_ours_is_raised_somewhere():
    assert set(CLASSES) - raised_names() <= NOT_RAISED_YET


@pytest.mark.parametrize("name", CLASSES)
def test_every_error_of_ours_is_found_by_its_code_and_has_meaning_and_advice(name):
    for text in (f"regan.common.errors.{name}: some message", f"regan evaluate_classifier: {name}: some message"):
        (cause,) = causes_in(text)
        assert cause == cause_of(CLASSES[name])
    assert cause.name == name
    assert cause.meaning.endswith(".")
    assert cause.advice.endswith(".")
    assert CLASSES[name].__doc__ != CLASSES[name].__base__.__doc__


@pytest.mark.parametrize("name", CLASSES)
def test_every_error_of_ours_is_a_built_in_error_too(name):
    assert issubclass(CLASSES[name], (ValueError, OSError, RuntimeError, ImportError))


def test_a_name_that_only_contains_a_code_is_another_error():
    assert names_in("ResourceError: x") == names_in("OverlapErrors happen") == names_in("overlaperror") == []


@pytest.mark.parametrize(("name", "pattern", "example"), EXAMPLES)
def test_each_expression_finds_a_sentence_that_a_program_writes(name, pattern, example):
    assert re.search(pattern, example)
    assert names_in(f"task train-gan has failed: {example}\n") == [name]


@pytest.mark.parametrize("sign", SIGNS, ids=lambda sign: sign.name)
def test_every_cause_of_other_programs_has_meaning_and_advice(sign):
    assert sign.meaning.endswith(".")
    assert sign.advice.endswith(".")
    assert not sign.is_in("")


def test_names_of_causes_are_unique():
    names = [*CLASSES, *(sign.name for sign in SIGNS), CANCELLED.name, UNKNOWN.name]
    assert len(set(names)) == len(names)


def test_our_error_replaces_the_text_of_the_library_below_it():
    text = (
        "google.api_core.exceptions.Forbidden: 403 GET https://storage.googleapis.com/\n\nThe above exception was the "
        "direct cause of the following exception:\n\nregan.common.errors.StorageAccessError: gs://b refuses access."
    )
    assert names_in(text) == ["StorageAccessError"]


def test_two_different_causes_are_both_named():
    assert names_in("TrainingStoppedError: stopped at 12 kimg. OOMKilled (exit code 137)") == [
        "TrainingStoppedError",
        "no memory",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Wrote 403 images at seed 401",  # a number is no HTTP status
        "google.api_core.exceptions.DeadlineExceeded: 504 Deadline Exceeded",  # a slow request, not a pod's deadline
        "preemption: No preemption victims found for incoming pod.",  # the scheduler; no node was lost
        "one spot in the image",
    ],
)
def test_words_that_mean_something_else_are_no_sign(text):
    assert names_in(text) == []
