import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from regan import backend

ROOT = Path(__file__).resolve().parents[2]
OFFICIAL = ["rgb32", "grey32_two_classes"]


@pytest.mark.parametrize("network", OFFICIAL)
def test_images_scores_and_penalties_equal_those_of_the_official_networks(network, golden, official):
    differences = official.differences(golden / "stylegan2_official" / f"{network}.npz")
    assert set(differences) == {"ws", "ws_psi", "img", "img_nonoise_psi1", "score", "r1_per_image", "path_lengths"}
    assert max(differences.values()) < 1e-4, differences


def test_the_other_framework_agrees_with_the_official_networks_too(golden):
    other = {"tensorflow": "jax", "jax": "tensorflow"}[backend.NAME]
    pytest.importorskip(other)
    program = ROOT / "tests" / "oracles" / "official_stylegan2.py"
    files = [golden / "stylegan2_official" / f"{network}.npz" for network in OFFICIAL]
    environment = os.environ | {"KERAS_BACKEND": other, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, program, *files], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    for path, differences in json.loads(done.stdout.splitlines()[-1]).items():
        assert max(differences.values()) < 1e-4, (path, differences)
