"""Our networks with the weights of two small official ones, and how far their outputs lie from the official outputs.

The arrays come from the official stylegan2-ada-pytorch release with random weights; only weights, inputs and outputs of
that program are used. Run as a program, so that another process can use another framework:
`python official_stylegan2.py FILE.npz ...` prints the differences of each file as JSON.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np


def differences(path: Path) -> dict[str, float]:
    """Largest difference of each output, relative to the output's largest value."""
    golden = dict(np.load(path))
    return compared(golden, official_config(golden), official_weights(golden, "G"), official_weights(golden, "D"))


def compared(
    golden: dict[str, np.ndarray],
    config: Any,
    weights: dict[str, np.ndarray],
    discriminator_weights: dict[str, np.ndarray],
) -> dict[str, float]:
    """The same for a configuration and weights of generator and discriminator from another source."""
    from keras import ops, tree

    from regan import backend
    from regan.gan import losses
    from regan.gan.networks import DiscriminatorNetwork, GeneratorNetwork

    random = np.random.default_rng(0)
    generator, discriminator = GeneratorNetwork.build(config, random), DiscriminatorNetwork.build(config, random)
    assert set(weights) == set(generator.weights()) | set(generator.constants()) | {"style_mean"}
    assert set(discriminator_weights) == set(discriminator.weights())

    silent = [np.zeros((len(golden["z"]), size, size, 1), np.float32) for size in config.noise_sizes]

    def outputs(
        weights: Any, discriminator_weights: Any, z: Any, labels: Any, real: Any, direction: Any
    ) -> dict[str, Any]:
        def score(images: Any) -> Any:
            return discriminator.scores(discriminator_weights, images, labels)

        tiled = ops.repeat(generator.styles(weights, z, labels)[:, None], config.num_styles, axis=1)
        truncated = weights["style_mean"] + golden["psi"] * (tiled - weights["style_mean"])
        return {
            "ws": tiled,
            "ws_psi": truncated,
            "img": generator.images(weights, truncated),
            "img_nonoise_psi1": generator.images(weights, tiled, silent),
            "score": score(real)[:, None],
            "r1_per_image": losses.squared_gradient_norms(score, real),
            "path_lengths": losses.path_lengths(lambda w: generator.images(weights, w), tiled, direction),
        }

    labels = golden.get("c", np.zeros((len(golden["z"]), 0), np.float32))
    # The file holds the direction divided by the image size already.
    direction = channels_last(golden["path_noise"]) * config.size
    inputs = (weights, discriminator_weights, golden["z"], labels, channels_last(golden["real"]), direction)
    # JAX compiles every operation by itself unless told to take all together; TensorFlow is faster without.
    computed = (backend.jit(outputs) if backend.NAME == "jax" else outputs)(
        *tree.map_structure(ops.convert_to_tensor, inputs)
    )
    return {name: relative(ops.convert_to_numpy(value), golden[name]) for name, value in computed.items()}


def official_config(golden: dict[str, np.ndarray]) -> Any:
    """The configuration that the weights fit."""
    from regan.gan.configuration import configure

    return configure(
        "demo",
        size=32,
        channels=golden["real"].shape[1],
        labels=("a", "b") if "c" in golden else ("a",),
        base_maps=256,
        max_maps=32,
        mapping_layers=len({name for name in golden if re.fullmatch(r"G\.mapping\.fc\d\.weight", name)}),
    )


def official_weights(golden: dict[str, np.ndarray], network: str) -> dict[str, np.ndarray]:
    """Weights of `G` or `D` by our paths, in our layout."""
    names = [name for name in golden if name.startswith(f"{network}.")]
    return dict(_translated(name, golden[name]) for name in names)


def _translated(name: str, value: np.ndarray) -> tuple[str, np.ndarray]:
    path = name
    for pattern, replacement in _RENAMED:
        path = re.sub(pattern, replacement, path)
    path = path.replace(".", "/")
    if path == "synthesis/start":
        value = value.transpose(1, 2, 0)
    elif path.endswith("/noise"):
        value = value[:, :, None]
    elif path == "discriminator/dense/kernel":
        maps = value.shape[1] // 16
        value = value.reshape(-1, maps, 4, 4).transpose(2, 3, 1, 0).reshape(16 * maps, -1)
    elif value.ndim == 4:
        value = value.transpose(2, 3, 1, 0)
    elif value.ndim == 2:
        value = value.T
    return path, np.ascontiguousarray(value) if value.ndim else value


_RENAMED = (
    (r"^G\.mapping\.w_avg$", "style_mean"),
    (r"^G\.mapping\.", "mapping."),
    (r"^G\.synthesis\.", "synthesis."),
    (r"^D\.mapping\.", "discriminator."),
    (r"^D\.b4\.conv\.", "discriminator.last."),
    (r"^D\.b4\.fc\.", "discriminator.dense."),
    (r"^D\.b4\.out\.", "discriminator.score."),
    (r"^D\.b\d+\.fromrgb\.", "discriminator.from_image."),
    (r"^D\.b(\d+)\.conv0\.", r"discriminator.size_\1.first."),
    (r"^D\.b(\d+)\.conv1\.", r"discriminator.size_\1.second."),
    (r"^D\.b(\d+)\.skip\.", r"discriminator.size_\1.shortcut."),
    (r"\.b4\.const$", ".start"),
    (r"\.b(\d+)\.conv0\.", r".size_\1_up."),
    (r"\.b(\d+)\.conv1\.", r".size_\1_same."),
    (r"\.b(\d+)\.torgb\.", r".size_\1_image."),
    (r"\.embed\.", ".embedding."),
    (r"\.fc(\d)\.", r".dense_\1."),
    (r"\.noise_const$", ".noise"),
    (r"^(synthesis\.size_\w+)\.(weight|affine)", r"\1.convolution.\2"),
    (r"weight$", "kernel"),
)


def channels_last(images: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1))


def relative(ours: np.ndarray, official: np.ndarray) -> float:
    official = channels_last(official) if official.ndim == 4 else official
    assert ours.shape == official.shape
    return float(np.abs(ours - official).max() / np.abs(official).max())


if __name__ == "__main__":
    print(json.dumps({path: differences(Path(path)) for path in sys.argv[1:]}))
