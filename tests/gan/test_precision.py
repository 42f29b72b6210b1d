"""Training in bfloat16 stays near training in float32; this file is also the program that computes the figures."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from regan.common.errors import SettingError
from regan.gan.configuration import configure

ROOT = Path(__file__).resolve().parents[2]
IMAGES = 0.03  # of the images' standard deviation, root of the mean square difference
GRADIENTS = 0.1  # of the length of a phase's gradient
PHASES = ("generator", "path_length", "discriminator", "r1")
STEPS = 2


def tiny_config(**changes):
    sizes = {"base_maps": 256, "max_maps": 16, "latent_size": 8, "style_size": 8, "batch_size": 4, "mapping_layers": 1}
    return configure("demo", **{"size": 32, "channels": 1, "labels": ("b", "m")} | sizes | changes)


def started(precision: str):
    """Phases, state and the first inputs of a tiny network that all image sizes of both types occur in."""
    from keras import ops, tree

    from regan.gan.inputs import Inputs, Stream, TrainingImages, random_generator
    from regan.gan.networks import DiscriminatorNetwork, GeneratorNetwork
    from regan.gan.steps import Phases, initial_state

    config = tiny_config(precision=precision)
    random = random_generator(0, Stream.WEIGHTS)
    networks = GeneratorNetwork.build(config, random), DiscriminatorNetwork.build(config, random)
    state = initial_state(config, *networks)
    pixels = random.integers(0, 256, (12, 32, 32, 1)).astype(np.uint8)
    batches = tree.map_structure(
        ops.convert_to_tensor, Inputs(config, TrainingImages(pixels, np.arange(12) % 2)).draw(0)
    )
    batches["r1"] = batches["discriminator"]
    return networks, Phases(config, *networks), state, batches


def compute(precision: str) -> dict[str, np.ndarray]:
    """Images, the gradients of every phase, and the weights after some steps."""
    import keras
    from keras import ops

    from regan import backend
    from regan.gan import steps

    found, adam_update = {}, steps.adam_update

    def and_gradients(state, network, gradients, rate, beta2):
        return adam_update(state, network, gradients, rate, beta2) | {"gradients": gradients}

    with pytest.MonkeyPatch.context() as patch:
        if backend.NAME == "tensorflow":
            patch.setattr(backend, "jit", lambda function: function)
        patch.setattr(steps, "adam_update", and_gradients)
        (generator, _), phases, state, batches = started(precision)
        latents = batches["discriminator"]
        styles = generator.styles(state["generator"], latents["latents"], latents["labels"])
        styles = ops.repeat(styles[:, None], generator.config.num_styles, axis=1)
        found["images"] = generator.images(state["generator"], styles, latents["noise"])
        types = {
            keras.backend.standardize_dtype(value.dtype) for value in [found["images"], *state["average"].values()]
        }
        for phase in PHASES:
            # All from the first state: a first update of Adam has the gradient's sign, and noise would change many.
            gradients = getattr(phases, phase)(state, batches[phase])[0]["gradients"]
            found |= {f"{phase} gradient {path}": value for path, value in gradients.items()}
        for step in range(STEPS):
            for phase in PHASES:
                changes, figures = getattr(phases, phase)(state, batches[phase])
                state |= changes
                found |= {f"step {step} {name}": value for name, value in figures.items()}
    return {name: ops.convert_to_numpy(value) for name, value in found.items()} | {"types": np.array(sorted(types))}


@pytest.fixture(scope="module", params=["tensorflow", pytest.param("jax", marks=pytest.mark.slow)])
def both(request, tmp_path_factory):
    """The figures of one framework in float32 and in bfloat16."""
    pytest.importorskip(request.param)
    path = tmp_path_factory.mktemp("precision") / "figures.npz"
    environment = os.environ | {
        "KERAS_BACKEND": request.param,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)]),
        "XLA_FLAGS": "--xla_backend_optimization_level=0",
    }
    done = subprocess.run([sys.executable, __file__, path], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(path) as file:
        figures = dict(file)
    return tuple(
        {name.removeprefix(prefix): value for name, value in figures.items() if name.startswith(prefix)}
        for prefix in ("float32 ", "bfloat16 ")
    )


def test_bfloat16_is_used_and_changes_little(both):
    exact, half = both
    difference = np.sqrt(np.mean((exact["images"] - half["images"]) ** 2)) / exact["images"].std()
    assert 1e-5 < difference < IMAGES


@pytest.mark.parametrize("phase", PHASES)
def test_gradients_point_the_same_way(both, phase):
    exact, half = (
        np.concatenate([figures[name].ravel() for name in sorted(figures) if name.startswith(f"{phase} gradient")])
        for figures in both
    )
    assert 0 < np.linalg.norm(exact - half) < GRADIENTS * np.linalg.norm(exact)


def test_training_stays_finite_and_weights_and_images_float32(both):
    _, half = both
    assert half["types"].tolist() == ["float32"]
    assert sum(name.startswith("step 1 ") for name in half) > 5
    assert all(np.isfinite(value).all() for name, value in half.items() if name != "types")


@pytest.mark.parametrize(
    ("size", "precision", "num", "expected"),
    [
        (256, "float32", 4, []),
        (256, "bfloat16", 4, [32, 64, 128, 256]),
        (256, "bfloat16", 2, [128, 256]),
        (256, "bfloat16", 0, []),
        (64, "bfloat16", 4, [32, 64]),
    ],
)
def test_the_largest_sizes_are_in_bfloat16_but_none_up_to_16_pixels(size, precision, num, expected):
    config = tiny_config(size=size, precision=precision, num_bfloat16=num)
    assert [size for size in config.sizes if config.compute(size) == "bfloat16"] == expected


def test_another_precision_is_refused():
    with pytest.raises(SettingError, match=r"must be 'float32' or 'bfloat16'. Received precision='float16'"):
        tiny_config(precision="float16")


if __name__ == "__main__":
    figures = {
        f"{precision} {name}": v for precision in ("float32", "bfloat16") for name, v in compute(precision).items()
    }
    np.savez(sys.argv[1], **figures)
