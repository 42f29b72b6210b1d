"""TensorFlow and JAX compute the same: this file is also the program that computes the figures of one framework."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-4
PHASES = ("generator", "path_length", "discriminator", "r1")


def convolutions() -> dict[str, np.ndarray]:
    """Convolutions, their gradients, and the gradients of the squared norms of those gradients, as R1 takes them."""
    from keras import ops

    from regan import backend

    random = np.random.default_rng(0)
    kernel = ops.convert_to_tensor(random.standard_normal((3, 3, 2, 4), np.float32))
    kinds = {
        "same": (lambda x, k: backend.convolve(x, k), (2, 6, 6, 2)),
        "halving": (lambda x, k: backend.convolve(x, k, 2), (2, 9, 9, 2)),
        "doubling": (backend.convolve_transposed, (2, 4, 4, 2)),
    }
    found = {}
    for name, (convolve, shape) in kinds.items():
        x = ops.convert_to_tensor(random.standard_normal(shape, np.float32))

        def energy(x, kernel, convolve=convolve):
            return ops.sum(ops.sin(convolve(x, kernel)))

        def penalty(kernel, x, energy=energy):
            slope = backend.gradient(lambda x: energy(x, kernel))(x)
            return ops.sum(ops.square(slope)), {}

        (_, _), by_kernel_alone = backend.value_and_gradient(lambda k, x, energy=energy: (energy(x, k), {}))(kernel, x)
        (second, _), by_kernel = backend.value_and_gradient(penalty)(kernel, x)
        found |= {
            f"{name}": convolve(x, kernel),
            f"{name} by input": backend.gradient(lambda x: energy(x, kernel))(x),
            f"{name} by kernel": by_kernel_alone,
            f"{name} penalty": second,
            f"{name} penalty by kernel": by_kernel,
            f"{name} penalty by input": backend.gradient(lambda x: penalty(kernel, x)[0])(x),
        }
    return {name: ops.convert_to_numpy(value) for name, value in found.items()}


def training() -> dict[str, np.ndarray]:
    """Images of a tiny network, and losses and gradients of every phase of a training step."""
    from keras import ops, tree

    from regan.gan import steps
    from regan.gan.configuration import configure
    from regan.gan.inputs import Inputs, Stream, TrainingImages, random_generator
    from regan.gan.networks import DiscriminatorNetwork, GeneratorNetwork

    tiny = {"base_maps": 64, "max_maps": 8, "latent_size": 8, "style_size": 8, "batch_size": 4}
    tiny |= {"mapping_layers": 1}
    config = configure("demo", size=32, channels=1, labels=("b", "m"), **tiny)
    random = random_generator(0, Stream.WEIGHTS)
    generator, discriminator = GeneratorNetwork.build(config, random), DiscriminatorNetwork.build(config, random)
    state = steps.initial_state(config, generator, discriminator)
    # As after some training: what is zero at first has gradients that are zero for the wrong reasons too.
    for network in ("generator", "discriminator"):
        state[network] = {
            path: value + ops.convert_to_tensor(0.1 * random.standard_normal(value.shape).astype(np.float32))
            for path, value in state[network].items()
        }
    pixels = random.integers(0, 256, (12, 32, 32, 1)).astype(np.uint8)
    batches = Inputs(config, TrainingImages(pixels, np.arange(12) % 2)).draw(0)
    batches = tree.map_structure(ops.convert_to_tensor, batches) | {"r1": None}
    batches["r1"] = batches["discriminator"]

    latents = batches["discriminator"]
    styles = generator.styles(state["generator"], latents["latents"], latents["labels"])
    styles = ops.repeat(styles[:, None], config.num_styles, axis=1)
    found = {"images": generator.images(state["generator"], styles, latents["noise"])}

    def gradients_alone(state, network, gradients, rate, beta2):
        return {"gradients": gradients}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "adam_update", gradients_alone)
        phases = steps.Phases(config, generator, discriminator)
        for name in PHASES:
            changes, figures = getattr(phases, name)(state, batches[name])
            found |= {f"{name} figure {figure}": value for figure, value in figures.items()}
            found |= {f"{name} gradient {path}": value for path, value in changes["gradients"].items()}
    return {name: ops.convert_to_numpy(value) for name, value in found.items()}


def compute() -> dict[str, np.ndarray]:
    """Everything that is compared, the phases of training compiled as they are when it goes on."""
    return convolutions() | training()


def environment(backend: str) -> dict[str, str]:
    return os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The figures of this process and those of the other framework."""
    from regan import backend

    other = {"tensorflow": "jax", "jax": "tensorflow"}[backend.NAME]
    if importlib.util.find_spec(other) is None:
        pytest.skip(f"needs {other} beside {backend.NAME}")
    path = tmp_path_factory.mktemp("backend") / "figures.npz"
    command = [sys.executable, __file__, str(path)]
    # Without optimising, JAX compiles in two thirds of the time.
    settings = environment(other) | {"XLA_FLAGS": "--xla_backend_optimization_level=0"}
    with subprocess.Popen(command, env=settings, stderr=subprocess.PIPE, text=True) as started:
        ours = compute()
        _, messages = started.communicate()
    assert started.returncode == 0, messages[-2000:]
    with np.load(path) as theirs:
        return ours, dict(theirs)


def relative_difference(one: np.ndarray, other: np.ndarray) -> float:
    assert one.shape == other.shape
    scale = max(np.abs(one).max(), np.abs(other).max())
    return float(np.abs(one - other).max() / scale) if scale else 0.0


def worst(both, kind: str) -> tuple[float, str]:
    ours, theirs = both
    names = [name for name in ours if name.startswith(kind)]
    return max((relative_difference(ours[name], theirs[name]), name) for name in names)


def test_both_frameworks_compute_the_same_figures_and_none_is_empty(both):
    ours, theirs = both
    assert set(ours) == set(theirs)
    assert all(np.isfinite(value).all() for value in ours.values())
    for phase in PHASES:
        gradients = [value for name, value in ours.items() if name.startswith(f"{phase} gradient")]
        assert len(gradients) > 20
        # R1 does not see the biases behind the last rectifier, and so on; all but few must be more than zero.
        assert np.mean([np.abs(value).max() > 0 for value in gradients]) > 0.75, phase


def test_images_agree(both):
    ours, theirs = both
    assert ours["images"].shape == (4, 32, 32, 1)
    assert np.std(ours["images"]) > 0.1
    assert np.abs(ours["images"] - theirs["images"]).max() < TOLERANCE


@pytest.mark.parametrize("phase", PHASES)
def test_losses_and_gradients_of_each_phase_agree(phase, both):
    for kind in ("figure", "gradient"):
        difference, name = worst(both, f"{phase} {kind}")
        assert difference < TOLERANCE, name


@pytest.mark.parametrize("kind", ["same", "halving", "doubling"])
def test_convolutions_agree_to_the_second_derivative(kind, both):
    assert worst(both, kind) < (TOLERANCE, "")


@pytest.mark.parametrize("kind", ["same", "halving", "doubling"])
def test_gradients_of_convolutions_are_those_of_small_steps(kind, both):
    """Both frameworks could be wrong together, since the rules have the same author."""
    from keras import ops

    from regan import backend

    random = np.random.default_rng(1)
    stride = {"same": 1, "halving": 2}.get(kind)
    x = random.standard_normal((1, 5, 5, 2)).astype(np.float32)
    kernel = random.standard_normal((3, 3, 2, 3)).astype(np.float32)

    def output(x, kernel):
        x, kernel = ops.convert_to_tensor(x), ops.convert_to_tensor(kernel)
        return backend.convolve_transposed(x, kernel) if stride is None else backend.convolve(x, kernel, stride)

    weight = random.standard_normal(output(x, kernel).shape).astype(np.float32)
    for place, start in enumerate((x, kernel)):
        direction = random.standard_normal(start.shape).astype(np.float32)

        def value(moved, place=place):
            return ops.sum(weight * output(*((moved, kernel) if place == 0 else (x, moved))))

        slope = ops.convert_to_numpy(backend.gradient(value)(ops.convert_to_tensor(start)))
        # The convolution is linear in each argument, so a step of any length gives the exact slope.
        step = float(value(start + direction)) - float(value(start))
        assert np.sum(slope * direction) == pytest.approx(step, rel=1e-3, abs=1e-3)


def test_the_gradient_is_zero_where_the_loss_does_not_depend_on_a_parameter():
    from keras import ops

    from regan import backend

    parameters = {"used": ops.convert_to_tensor(np.float32(3)), "idle": ops.ones((2, 3))}
    (loss, figures), gradients = backend.value_and_gradient(lambda p, y: (p["used"] ** 2 * y, {"y": y}))(
        parameters, ops.convert_to_tensor(np.float32(2))
    )
    assert (float(loss), float(figures["y"]), float(gradients["used"])) == (18, 2, 12)
    np.testing.assert_array_equal(ops.convert_to_numpy(gradients["idle"]), np.zeros((2, 3)))


def test_an_operator_and_its_adjoint_are_each_others_gradients():
    from keras import ops

    from regan import backend

    matrix = ops.convert_to_tensor(np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32))
    apply, adjoint = backend.linear_operator(
        lambda x: ops.matmul(x, matrix), lambda y: ops.matmul(y, ops.transpose(matrix))
    )
    x = ops.convert_to_tensor(np.float32([[1, -2, 3]]))

    def penalty(x):
        return ops.sum(backend.gradient(lambda x: ops.sum(apply(x) ** 3))(x) ** 2)

    def plain(x):
        return ops.sum(backend.gradient(lambda x: ops.sum(ops.matmul(x, matrix) ** 3))(x) ** 2)

    np.testing.assert_allclose(ops.convert_to_numpy(adjoint(apply(x))), x @ matrix @ ops.transpose(matrix), rtol=1e-5)
    expected = ops.convert_to_numpy(backend.gradient(plain)(x))
    np.testing.assert_allclose(ops.convert_to_numpy(backend.gradient(penalty)(x)), expected, rtol=1e-4)


def test_another_framework_is_refused():
    done = subprocess.run(
        [sys.executable, "-c", "import regan.backend"], env=environment("numpy"), capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "Received KERAS_BACKEND='numpy'. Set KERAS_BACKEND=tensorflow or KERAS_BACKEND=jax" in done.stderr


if __name__ == "__main__":
    np.savez(sys.argv[1], **compute())


def test_the_rectifier_has_the_gradients_of_its_two_slopes():
    from keras import ops

    from regan import backend

    x = ops.convert_to_tensor(np.array([-2.0, -0.5, 0.5, 3.0, 0.0], np.float32))
    upstream = ops.convert_to_tensor(np.array([1.0, 2.0, 3.0, 4.0, 5.0], np.float32))

    def slopes(upstream, x):
        return backend.gradient(lambda x: ops.sum(upstream * backend.leaky_relu(x, 0.2)))(x)

    def squared(upstream, x):
        return ops.sum(ops.square(slopes(upstream, x)))

    for wrap in (lambda function: function, backend.jit):
        found = [
            wrap(lambda x: backend.leaky_relu(x, 0.2))(x),
            wrap(slopes)(upstream, x),
            wrap(lambda upstream, x: backend.gradient(lambda u: squared(u, x))(upstream))(upstream, x),
            wrap(lambda upstream, x: backend.gradient(lambda x: squared(upstream, x) + 0 * ops.sum(x))(x))(upstream, x),
        ]
        expected = [[-0.4, -0.1, 0.5, 3.0, 0], [0.2, 0.4, 3.0, 4.0, 1.0], [0.08, 0.16, 6.0, 8.0, 0.4], [0.0] * 5]
        for value, known in zip(found, expected, strict=True):
            np.testing.assert_allclose(ops.convert_to_numpy(value), known, rtol=1e-6)


REGULARISED = """
import numpy as np
from keras import ops
from regan import backend
x, kernel = ops.ones((2, 8, 8, 3)), ops.ones((3, 3, 3, 3))
def score(kernel, x):
    return ops.sum(backend.leaky_relu(backend.convolve(x, kernel) + kernel[0, 0, 0], 0.2))
def penalty(kernel, x):
    return ops.sum(ops.square(backend.gradient(lambda x: score(kernel, x))(x))), {}
print(float(backend.jit(backend.value_and_gradient(penalty))(kernel, x)[0][0]))
"""


def test_tensorflow_optimises_the_graph_of_a_gradient_of_a_gradient_without_complaint():
    """Its pass that joins convolution, bias and rectifier fails where a gradient reads the sum of the former two."""
    pytest.importorskip("tensorflow")
    settings = environment("tensorflow") | {"TF_CPP_MIN_LOG_LEVEL": "2"}
    done = subprocess.run([sys.executable, "-c", REGULARISED], env=settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 0
    assert "failed" not in done.stderr
