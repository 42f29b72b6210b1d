"""Feature extractors from the networks of keras.applications."""

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from regan.common.errors import MissingWeightsError, SettingError, WrongArtifactError
from regan.quality.features import FeatureExtractor

if TYPE_CHECKING:
    import keras

_INPUT_SIDE = {"InceptionV3": 299, "InceptionResNetV2": 299, "Xception": 299}  # pixels of their ImageNet training
_USUAL_SIDE = 224
_BATCH_SIZE = 32


def network_extractor(features: str) -> FeatureExtractor:
    """Make the extractor of a keras.applications network: global average pooling of a layer's output.

    Images are resized to the size that the network was trained at (bicubic, antialiased) and preprocessed for it.

    Args:
        features: "Network", "Network:weights.h5" or "Network/layer:weights.h5"; see `feature_extractor`.

    Returns:
        The extractor, named "Network" or "Network/layer", with the hash of its weights.

    Raises:
        SettingError: There is no such network or layer.
        MissingWeightsError: The weight file does not exist.
        WrongArtifactError: The weight file belongs to another network.
    """
    import keras

    path, _, weights = features.partition(":")
    name, _, layer = path.partition("/")
    build = getattr(keras.applications, name, None)
    if not name[:1].isupper() or not callable(build):
        raise SettingError(
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
    # Padded to batches of one size, so that the network is compiled once.
    padded = np.zeros((_BATCH_SIZE, *inputs.shape[1:]), np.float32)
    padded[: len(inputs)] = inputs
    return np.asarray(network.predict_on_batch(padded), np.float64)[: len(inputs)]


def _build(build: Callable[..., Any], side: int, layer: str, weights: str) -> "keras.Model":
    import keras

    if weights and not Path(weights).is_file():
        raise MissingWeightsError(
            f"The weight file of the feature extractor does not exist: {weights}. Check the path."
        )
    base = build(include_top=False, weights=None if weights else "imagenet", input_shape=(side, side, 3))
    names = [one.name for one in base.layers]
    if layer and layer not in names:
        raise SettingError(
            f"{base.name} has no layer {layer!r}. The last of its {len(names)} layers are {', '.join(names[-8:])}."
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
        raise WrongArtifactError(
            f"The weight file {weights} does not match the network up to the requested layer: {error} "
            'If it contains the first layers only, name the last of them: "Network/layer:weights.h5".'
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
