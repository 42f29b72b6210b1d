"""Two devices that share a batch compute what one does; this file is also the program that computes the figures."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from regan.common.errors import SettingError

ROOT = Path(__file__).resolve().parents[2]
# Of a tensor's largest value. A bias of one map is a sum over all pixels that nearly cancel: 1.1e-5 was seen on JAX,
# less than 4e-6 elsewhere.
TOLERANCE = 2e-5
# With augmentation, 3.2e-5 was seen at the strength of a layer's noise: one number, the same kind of sum.
AUGMENTED_TOLERANCE = 1e-4
STRENGTH = "1 discriminator augmentation_strength"
PHASES = ("generator", "path_length", "discriminator", "r1")


def two_logical_devices(backend: str) -> None:
    if backend == "jax":
        os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
    else:
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


def compute(folder: Path, compiled: bool, augment: str) -> dict[str, np.ndarray]:
    """Figures and gradients of every phase for one device and for two, and those after a checkpoint of two."""
    from keras import ops, tree

    from regan import backend
    from regan.gan import steps
    from regan.gan.augmentation.strength import STRENGTH as IN_STATE
    from regan.gan.configuration import configure
    from regan.gan.inputs import Inputs, Stream, TrainingImages, random_generator
    from regan.gan.networks import DiscriminatorNetwork, GeneratorNetwork
    from regan.training.checkpoint import load_checkpoint, save_checkpoint

    def as_arrays(values):
        return tree.map_structure(ops.convert_to_numpy, values)

    adam_update = steps.adam_update
    steps.adam_update = lambda *arguments: adam_update(*arguments) | {"gradients": arguments[2]}
    if not compiled:
        backend.tensorflow.jit = backend.jit = lambda function: function
    tiny = {"base_maps": 64, "max_maps": 8, "latent_size": 8, "style_size": 8, "mapping_layers": 1}
    tiny |= {"augment": augment, "ada_interval": 1, "ada_kimg": 0.1}
    config = configure("demo", size=32, channels=1, labels=("b", "m"), batch_size=8, **tiny)
    random = random_generator(0, Stream.WEIGHTS)
    networks = GeneratorNetwork.build(config, random), DiscriminatorNetwork.build(config, random)
    start = as_arrays(steps.initial_state(config, *networks))
    start |= {IN_STATE: np.float32(0.8)} if config.ada else {}  # most images are changed
    images = TrainingImages(random.integers(0, 256, (12, 32, 32, 1)).astype(np.uint8), np.arange(12) % 2)
    drawn = Inputs(config, images).draw(0)
    drawn["r1"] = drawn["discriminator"]

    found = {}
    for num in (2, 1):
        replicas = backend.replicate(num, config.batch_size)
        phases = steps.Phases(config, *networks, replicas)
        batches = {name: replicas.shares(batch) for name, batch in drawn.items()}
        state = trained = replicas.copies(start)
        for phase in PHASES:
            changes, figures = getattr(phases, phase)(state, batches[phase])
            gradients = as_arrays(replicas.first(changes.pop("gradients")))
            found |= {f"{num} {phase} {path}": value for path, value in gradients.items()}
            found |= {f"{num} {phase} {name}": value for name, value in as_arrays(replicas.first(figures)).items()}
            trained = trained | changes
        trained |= phases.average(trained, replicas.copies(np.float32(0.5)))
        if num == 2:
            arrays = as_arrays(replicas.first(trained))
            save_checkpoint(folder, configuration="two", step=1, seconds=1.0, state=arrays)
        state = replicas.copies(load_checkpoint(folder, configuration="two").state)
        _, figures = phases.generator(state, batches["generator"])
        found |= {f"{num} resumed {name}": value for name, value in as_arrays(replicas.first(figures)).items()}
        found |= {f"{num} average {path}": value for path, value in as_arrays(replicas.first(state["average"])).items()}
    return found


def run(backend: str, folder: Path, *more: str) -> dict[str, np.ndarray]:
    environment = os.environ | {
        "KERAS_BACKEND": backend,
        "PYTHONPATH": str(ROOT),
        "XLA_FLAGS": "--xla_backend_optimization_level=0",
    }
    command = [sys.executable, __file__, str(folder), *more]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(folder / "figures.npz") as file:
        return dict(file)


def require_equal(found: dict[str, np.ndarray], kind: str, tolerance: float = TOLERANCE) -> None:
    names = [name.removeprefix("1 ") for name in found if name.startswith(f"1 {kind}")]
    assert names
    for name in names:
        one, two = found[f"1 {name}"], found[f"2 {name}"]
        assert np.abs(one - two).max() <= tolerance * np.abs(one).max() + 1e-9, name


@pytest.fixture(
    scope="module",
    params=[
        ("tensorflow", "graph", "mirror"),
        pytest.param(("tensorflow", "graph", "ada"), marks=pytest.mark.slow),
        pytest.param(("tensorflow", "compiled", "mirror"), marks=pytest.mark.slow),
        pytest.param(("jax", "compiled", "mirror"), marks=pytest.mark.slow),
        pytest.param(("jax", "compiled", "ada"), marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def figures(request, tmp_path_factory):
    pytest.importorskip(request.param[0])
    return run(request.param[0], tmp_path_factory.mktemp("replicate"), *request.param[1:])


@pytest.mark.parametrize("phase", PHASES)
def test_two_devices_find_the_figures_and_gradients_of_one(figures, phase):
    require_equal(figures, phase, AUGMENTED_TOLERANCE if STRENGTH in figures else TOLERANCE)


def test_two_devices_adjust_the_strength_of_augmentation_as_one(figures):
    if STRENGTH in figures:
        assert figures[STRENGTH] == figures[STRENGTH.replace("1", "2")]
        assert abs(figures[STRENGTH] - 0.8) == pytest.approx(0.08, rel=1e-4)


def test_a_checkpoint_of_two_devices_is_one_of_one(figures):
    require_equal(figures, "resumed")
    require_equal(figures, "average", 0)


def test_a_batch_must_be_shared_in_groups_of_four(monkeypatch):
    from regan import backend

    monkeypatch.setattr(backend, "num_devices", lambda: 8)
    monkeypatch.setattr(backend, "Replicas", lambda num: num)
    with pytest.raises(SettingError, match=r"Received devices=3 for batch_size=32\. Use 2\."):
        backend.replicate(3, 32)
    with pytest.raises(SettingError, match=r"to 8, the number of devices visible to \w+\. Received devices=9\."):
        backend.replicate(9, 32)
    assert [backend.replicate(0, batch) for batch in (8, 16, 32, 48, 64)] == [2, 4, 8, 6, 8]
    assert backend.replicate(1, 32).num == backend.replicate(0, 4).num == 1


if __name__ == "__main__":
    two_logical_devices(os.environ["KERAS_BACKEND"])
    target = Path(sys.argv[1])
    np.savez(target / "figures.npz", **compute(target, sys.argv[2] == "compiled", sys.argv[3]))
