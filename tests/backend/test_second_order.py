"""TensorFlow and JAX agree in float64 on what is differentiated twice: this file is also the program of one framework.

In float32 the kinks of the leaky rectifier hide the last digits of these gradients.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-6  # of the largest value of a gradient
CASES = ("r1", "path_length", "r1 augmented", "generator augmented")


def compute() -> dict[str, np.ndarray]:
    """Losses and weight gradients of a tiny network."""
    from keras import ops, tree

    from regan import backend
    from regan.gan import steps
    from regan.gan.augmentation.strength import STRENGTH
    from regan.gan.configuration import configure
    from regan.gan.inputs import Inputs, TrainingImages
    from regan.gan.networks import DiscriminatorNetwork, GeneratorNetwork

    tiny = {"base_maps": 32, "max_maps": 4, "latent_size": 4, "style_size": 4, "batch_size": 4, "mapping_layers": 1}
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (9, 32, 32, 3), dtype=np.uint8)
    found = {}
    for name in CASES:
        phase, _, augmented = name.partition(" ")
        ada = bool(augmented)
        config = configure("demo", size=32, channels=3, labels=("b", "m"), ada=ada, **tiny)
        draws = np.random.default_rng(1)
        networks = GeneratorNetwork.build(config, draws), DiscriminatorNetwork.build(config, draws)
        state = steps.initial_state(config, *networks)
        state |= {STRENGTH: ops.convert_to_tensor(np.float64(0.7))} if ada else {}
        batch = Inputs(config, TrainingImages(pixels, np.arange(9) % 2)).draw(0)[
            "discriminator" if phase == "r1" else phase
        ]
        batch = tree.map_structure(
            lambda x: ops.convert_to_tensor(np.float64(x) if x.dtype == np.float32 else x), batch
        )
        phases = steps.Phases(config, *networks)
        loss = {"r1": "_r1_loss", "path_length": "_path_loss"}.get(phase, f"_{phase}_loss")
        network = "discriminator" if phase in ("r1", "discriminator") else "generator"
        differentiate = backend.value_and_gradient(getattr(phases, loss))
        differentiate = backend.jit(differentiate) if backend.NAME == "jax" else differentiate
        (value, _), gradients = differentiate(state[network], state, batch)
        found |= {f"{name} loss": value} | {f"{name} gradient {path}": g for path, g in gradients.items()}
    return {name: ops.convert_to_numpy(value) for name, value in found.items()}


def in_float64() -> dict[str, np.ndarray]:
    from keras.src.backend.common import dtypes

    # Keras takes float64 to float32 on JAX, by this table.
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(dtypes.BIT64_TO_BIT32_DTYPE, "float64", "float64")
        keras.config.set_floatx("float64")
        keras.config.set_dtype_policy("float64")
        try:
            return compute()
        finally:
            keras.config.set_floatx("float32")
            keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    from regan import backend

    if backend.NAME != "tensorflow" or importlib.util.find_spec("jax") is None:
        pytest.skip("needs TensorFlow here and JAX beside it")
    path = tmp_path_factory.mktemp("float64") / "figures.npz"
    settings = os.environ | {"KERAS_BACKEND": "jax", "JAX_ENABLE_X64": "1", "PYTHONPATH": f"{ROOT}"}
    settings |= {"XLA_FLAGS": "--xla_backend_optimization_level=0"}
    command = [sys.executable, __file__, str(path)]
    with subprocess.Popen(command, env=settings, stderr=subprocess.PIPE, text=True) as started:
        ours = in_float64()
        _, messages = started.communicate()
    assert started.returncode == 0, messages[-2000:]
    with np.load(path) as theirs:
        return ours, dict(theirs)


@pytest.mark.parametrize("case", CASES)
def test_losses_and_weight_gradients_agree_to_a_millionth(case, both):
    ours, theirs = both
    names = [name for name in ours if name.startswith((f"{case} loss", f"{case} gradient"))]
    assert len(names) > 20
    assert set(ours) == set(theirs)
    assert {ours[name].dtype for name in names} == {theirs[name].dtype for name in names} == {np.dtype(np.float64)}
    for name in names:
        scale = np.abs(ours[name]).max()
        assert np.abs(ours[name] - theirs[name]).max() <= TOLERANCE * scale, name
    assert np.mean([np.abs(ours[name]).max() > 0 for name in names]) > 0.7


if __name__ == "__main__":
    np.savez(sys.argv[1], **in_float64())
