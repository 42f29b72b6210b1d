import numpy as np

from regan.gan.memory import memory


def test_memory_in_use_grows_with_what_is_held():
    before = memory()["host"]
    held = np.ones(200_000_000, np.uint8)
    assert 1.5e8 < memory()["host"] - before < 3e8
    del held
