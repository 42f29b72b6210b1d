"""Feature extractors by name."""

import hashlib
from pathlib import Path

import numpy as np

from regan.quality.features import FeatureExtractor
from regan.quality.networks import network_extractor


def feature_extractor(features: str) -> FeatureExtractor:
    """Make the feature extractor of a name.

    Args:
        features: One of: "radiomic" (hand-crafted statistics, no weights); the folder of a classifier (its layer before
            the last); a network of keras.applications with ImageNet weights ("MobileNet"), with the weights of a file
            ("MobileNet:mobilenet.weights.h5"), or up to a layer ("MobileNet/conv_pw_12_relu:cut.weights.h5").

    Returns:
        The extractor. None of these is the 2015-12-05 Inception graph, so no distance on them may be called FID.

    Raises:
        SettingError: There is no such extractor.
        MissingWeightsError: The weight file does not exist.
    """
    if features == "radiomic":
        return _radiomic()
    if Path(features).is_dir():
        return _classifier(features)
    return network_extractor(features)


def _radiomic() -> FeatureExtractor:
    from regan.quality.radiomic import FEATURE_NAMES, VERSION, radiomic_features

    # No weights to hash: the version and the names of the features identify the definition.
    definition = hashlib.sha256("\n".join([f"radiomic {VERSION}", *FEATURE_NAMES]).encode()).hexdigest()
    return FeatureExtractor("radiomic", definition, len(FEATURE_NAMES), radiomic_features, scaled=True)


def _classifier(folder: str) -> FeatureExtractor:
    from regan.artifacts.model import read_model, weights_hash
    from regan.classifier.prediction import Classifier

    model = read_model(folder, "classifier")
    classifier = Classifier.load(folder)
    size, channels = classifier.size, classifier.channels
    # The number of features depends on the backbone; one black image is enough to measure it.
    dimension = classifier.features([np.zeros((1, size, size, channels), np.uint8)]).shape[1]
    name = f"classifier {model.get('configuration', {}).get('backbone', '')}".strip()
    return FeatureExtractor(name, weights_hash(folder), dimension, lambda batch: classifier.features([batch]))
