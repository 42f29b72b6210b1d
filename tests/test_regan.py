import subprocess
import sys
import time

import pytest

import regan

FRAMEWORKS = ("tensorflow", "jax", "keras", "torch", "kfp")


def run(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


def test_every_public_name_is_there_and_described():
    for name in regan.__all__:
        assert getattr(regan, name) is not None
    for verb in regan.VERBS:
        assert getattr(regan, verb).__doc__


def test_an_unknown_name_is_an_attribute_error_that_lists_the_names():
    with pytest.raises(AttributeError, match="Its public names are: prepare_images"):
        regan.train_gans  # noqa: B018


def test_importing_regan_is_quick_and_loads_no_framework():
    loaded = run(f"import sys, regan; print([n for n in {(*FRAMEWORKS, 'numpy', 'scipy')} if n in sys.modules])")
    assert loaded.stdout.strip() == "[]"

    def seconds(code: str) -> float:
        started = time.perf_counter()
        run(code)
        return time.perf_counter() - started

    # The interpreter's own start is not ours; the best of five, because machines are noisy.
    taken = min(seconds("import regan") for _ in range(5)) - min(seconds("") for _ in range(5))
    assert taken < 0.3


def test_loading_all_verbs_loads_no_framework():
    loaded = run(
        "import sys, regan; [getattr(regan, verb) for verb in regan.VERBS]; "
        f"print([n for n in {FRAMEWORKS} if n in sys.modules])"
    )
    assert loaded.stdout.strip() == "[]"
