"""Features of the networks of keras.applications."""

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from regan.quality.features import FeatureExtractor

if TYPE_CHECKING:
    import keras

_INPUT_SIDE = {"InceptionV3": 299, "InceptionResNetV2": 299, "Xception": 299}  # of their training, pixels
_USUAL_SIDE = 224
_BATCH_SIZE = 32


def network_extractor(features: str) -> FeatureExtractor:
    """Extractor of a keras.applications network: the mean over the places of a layer's output.

    Images are resized to the side that the network was trained at (bicubic, antialiased) and prepared as it wants.

    Args:
        features: "Network", "Network:weights.h5" or "Network/layer:weights.h5"; see `feature_extractor`.

    Returns:
        The extractor, named "Network" or "Network/layer", with the hash of its weights.

    Raises:
        ValueError: There is no such network or layer, or the file does not fit it.
        FileNotFoundError: The weights file does not exist.
    """
    import keras

    path, _, weights = features.partition(":")
    name, _, layer = path.partition("/")
    build = getattr(keras.applications, name, None)
    if not name[:1].isupper() or not callable(build):
        raise ValueError(
            '`features` must be "radiomic", the folder of a classifier, or a network of keras.applications such as '
            f'"MobileNet" or "MobileNet:weights.h5". Received features={features!r}.'
        )
    side = _INPUT_SIDE.get(name, _USUAL_SIDE)
    network = _build(build, side, layer, weights)
    preprocess = sys.modules[build.__module__].preprocess_input

    def extract(images: np.ndarray) -> np.ndarray:
        parts = [images[start : start + _BATCH_SIZE] for start in range(0, len(images), _BATCH_SIZE)]
        return np.concatenate([_features(network, preprocess(_resize(part, side))) for part in parts])

    return FeatureExtractor(path, _hash(network), int(network.output_shape[-1]), extract)


def _features(network: "keras.Model", inputs: np.ndarray) -> np.ndarray:
    # Batches of one size, so that the network is compiled once.
    padded = np.zeros((_BATCH_SIZE, *inputs.shape[1:]), np.float32)
    padded[: len(inputs)] = inputs
    return np.asarray(network.predict_on_batch(padded), np.float64)[: len(inputs)]


def _build(build: Callable[..., Any], side: int, layer: str, weights: str) -> "keras.Model":
    import keras

    if weights and not Path(weights).is_file():
        raise FileNotFoundError(f"The weights file of the feature extractor must exist. Received {weights}.")
    base = build(include_top=False, weights=None if weights else "imagenet", input_shape=(side, side, 3))
    names = [one.name for one in base.layers]
    if layer and layer not in names:
        raise ValueError(
            f"The layer must be one of {base.name}: {', '.join(names[-8:])}, ... Received layer={layer!r}."
        )
    output = base.get_layer(layer).output if layer else base.output
    body = keras.Model(base.input, output)
    if weights:
        _load(body, weights)
    return keras.Model(body.input, keras.layers.GlobalAveragePooling2D()(body.output))


def _load(network: "keras.Model", weights: str) -> None:
    try:
        network.load_weights(weights)
    except (ValueError, OSError) as error:
        raise ValueError(
            f"The weights file must fit the network up to the layer that is asked for. {weights} does not: {error} "
            'Where it holds the first layers only, name the last of them: "Network/layer:weights.h5".'
        ) from error


def _resize(images: np.ndarray, side: int) -> np.ndarray:
    rgb = np.repeat(images, 3, axis=-1) if images.shape[-1] == 1 else images
    resized = [np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC)) for image in rgb]
    return np.stack(resized).astype(np.float32)


def _hash(network: "keras.Model") -> str:
    digest = hashlib.sha256()
    for variable in network.variables:
        digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
    return digest.hexdigest()
