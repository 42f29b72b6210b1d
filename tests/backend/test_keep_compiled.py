import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys
from pathlib import Path
from keras import ops
from regan import backend

total = float(ops.sum(ops.ones((8, 8))))  # something is compiled before, as a network's weights are
backend.keep_compiled(Path(sys.argv[1]))

import jax

jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
function = backend.jit(lambda x: ops.sum(ops.tanh(ops.matmul(x, x))))
print(float(function(ops.ones((8, 8)))))
"""


def computed(folder, **more):
    environment = os.environ | {"KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT)} | more
    done = subprocess.run([sys.executable, "-c", PROGRAM, folder], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return float(done.stdout), done.stderr


def test_compiled_functions_are_kept_and_a_broken_one_is_compiled_again(tmp_path):
    pytest.importorskip("jax")
    assert computed(tmp_path)[0] == pytest.approx(64, rel=1e-5)
    kept = list(tmp_path.glob("*-cache"))
    assert kept
    for path in kept:
        path.write_bytes(path.read_bytes()[:50])
    value, messages = computed(tmp_path)
    assert value == pytest.approx(64, rel=1e-5)
    assert "truncated" in messages


def test_the_environment_says_where_first(tmp_path):
    pytest.importorskip("jax")
    computed(tmp_path / "ours", JAX_COMPILATION_CACHE_DIR=str(tmp_path / "theirs"))
    assert not (tmp_path / "ours").exists()
