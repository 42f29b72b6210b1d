"""The network that training begins with: random, imported, or that of a classifier whose training goes on."""

import warnings
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import h5py
import keras

from regan.artifacts.image_set import ImageSet
from regan.artifacts.model import read_model
from regan.classifier.checks import require_kind_of_model
from regan.classifier.model import SMALL, Configuration, build_backbone, build_network, container_names
from regan.classifier.prediction import Classifier
from regan.classifier.recipes import Recipe
from regan.common.files import file_hash

IMAGENET = "imagenet"
NONE = "none"
_SUFFIX = ".weights.h5"
_SMALL_RATE = 3e-3  # of 1, 2, 3 and 4e-3 the one that learns phantom images best in 20 epochs
_LICENCES = {"VGG16": "CC BY 4.0", "VGG19": "CC BY 4.0"}


@dataclass(frozen=True)
class Origin:
    """Where the first weights came from, for `model.json`.

    Attributes:
        source: `none`, `imagenet`, or the name of the file.
        sha256: Hash of the file; empty where there was none.
        licence: What is known of the terms.
    """

    source: str
    sha256: str = ""
    licence: str = ""


@dataclass(frozen=True)
class Start:
    """A network before training.

    Attributes:
        configuration: What it is.
        network: From scaled images to the probabilities of both classes.
        learning_rate: First learning rate that fits its weights.
        origin: Where its weights came from, for `model.json`.
    """

    configuration: Configuration
    network: keras.Model = field(repr=False)
    learning_rate: float
    origin: dict[str, Any]


def new_network(images: ImageSet, recipe: Recipe, *, backbone: str, weights: str, seed: int) -> Start:
    """Build a network for the images of a set.

    Args:
        images: Gives size and channels.
        recipe: Gives scaling and learning rate.
        backbone: See `Configuration`.
        weights: See `load_backbone`.
        seed: Of the random weights.
    """
    require_weights(weights, backbone)
    keras.utils.set_random_seed(seed)
    configuration = Configuration(backbone, images.size, images.channels, recipe.scaling)
    if backbone == SMALL:
        return Start(configuration, build_network(configuration), _SMALL_RATE, asdict(Origin(NONE)))
    configuration, base, origin = load_backbone(configuration, weights)
    rate = recipe.learning_rate if weights == NONE else recipe.tuning_rate
    return Start(configuration, build_network(configuration, base), rate, asdict(origin))


def network_of(start: str | Path, images: ImageSet, recipe: Recipe, *, backbone: str, seed: int) -> Start:
    """Take the network of a trained classifier.

    Raises:
        ValueError: The classifier has another backbone, or was trained on images of another kind.
    """
    keras.utils.set_random_seed(seed)
    classifier = Classifier.load(start)
    if classifier.configuration.backbone != backbone:
        raise ValueError(
            f"Training can go on with the same backbone only. Received backbone={backbone!r}, while {start} has "
            f"{classifier.configuration.backbone!r}. Pass `backbone={classifier.configuration.backbone!r}`."
        )
    if classifier.configuration.scaling != recipe.scaling:
        raise ValueError(
            f"Training can go on with inputs of the same range only. {start} was trained with "
            f"scaling={classifier.configuration.scaling!r}, the recipe has {recipe.scaling!r}. Use the same recipe."
        )
    require_kind_of_model(images, "images", classifier.size, classifier.channels, classifier.classes)
    origin = read_model(start, "classifier")["first_weights"]
    return Start(classifier.configuration, classifier.network, recipe.tuning_rate, origin)


def require_weights(weights: str, backbone: str) -> None:
    """Check the argument `weights` before any work.

    Raises:
        ValueError: It is neither `imagenet`, `none` nor a weight file, or does not fit the backbone.
        FileNotFoundError: The file is missing.
    """
    if weights not in (IMAGENET, NONE) and not weights.endswith(_SUFFIX):
        raise ValueError(
            f"`weights` must be `{IMAGENET}`, `{NONE}` or a file whose name ends in `{_SUFFIX}`. "
            f"Received weights={weights!r}."
        )
    if backbone == SMALL and weights != NONE:
        raise ValueError(
            f'`backbone="{SMALL}"` has no published weights. Received weights={weights!r}. Pass `weights="{NONE}"`.'
        )
    if weights.endswith(_SUFFIX) and not Path(weights).is_file():
        raise FileNotFoundError(f"`weights` must name a file that exists. Received weights={weights!r}.")


def load_backbone(configuration: Configuration, weights: str) -> tuple[Configuration, keras.Model, Origin]:
    """Build a network of keras.applications with the weights that were asked for.

    Args:
        configuration: A network of keras.applications.
        weights: `imagenet`, `none` or the path of a `.weights.h5` file. A file may end before the network does
            (`conv_pw_12_relu` of MobileNet, say); the network is then cut where the file ends.

    Returns:
        The configuration, with the place of the cut; the backbone; where its weights came from.

    Raises:
        ConnectionError: The ImageNet weights are not on this machine and cannot be fetched.
        ValueError: The file is damaged or belongs to another network.
    """
    if weights == NONE:
        return configuration, build_backbone(configuration), Origin(NONE)
    if weights == IMAGENET:
        return configuration, _with_imagenet_weights(configuration), _imagenet_origin(configuration)
    backbone = build_backbone(configuration)
    cut = replace(configuration, last_layer=_last_layer(backbone, Path(weights)))
    if cut.last_layer:
        backbone = keras.Model(backbone.input, backbone.get_layer(cut.last_layer).output, name=backbone.name)
    _load_file(backbone, Path(weights))
    licence = "unknown: ask whoever gave the file"
    return cut, backbone, Origin(Path(weights).name, file_hash(Path(weights)), licence)


def _with_imagenet_weights(configuration: Configuration) -> keras.Model:
    constructor = getattr(keras.applications, configuration.backbone)
    shape = (configuration.size, configuration.size, 3)
    backbone = build_backbone(configuration)
    try:
        pretrained = constructor(include_top=False, weights=IMAGENET, input_shape=shape)
    except ValueError:
        raise
    except Exception as error:  # keras.utils.get_file raises nothing narrower when it cannot download
        raise ConnectionError(
            f"The ImageNet weights of {configuration.backbone} are not on this machine and cannot be fetched: {error} "
            f'Give their file with `weights=...{_SUFFIX}`, or start from random weights with `weights="{NONE}"`.'
        ) from error
    _copy_weights(pretrained, backbone, configuration.backbone)
    return backbone


def _copy_weights(pretrained: keras.Model, backbone: keras.Model, name: str) -> None:
    # Some constructors (EfficientNetB0 to B7) add a layer only when asked for ImageNet weights; such a network could
    # not be built again from its configuration without fetching them again.
    if [type(layer) for layer in pretrained.layers] != [type(layer) for layer in backbone.layers]:
        raise ValueError(
            f"{name} has other layers with ImageNet weights than without, so it cannot be stored as configuration and "
            "arrays. Use another backbone, such as EfficientNetV2B0."
        )
    for source, target in zip(pretrained.layers, backbone.layers):
        target.set_weights(source.get_weights())


def _imagenet_origin(configuration: Configuration) -> Origin:
    licence = _LICENCES.get(configuration.backbone, "see https://keras.io/api/applications and the ImageNet terms")
    return Origin(IMAGENET, "", licence)


def _last_layer(backbone: keras.Model, path: Path) -> str:
    """The layer where the file ends; empty where it holds the whole network."""
    in_file = _layers_in(path)
    names = container_names(backbone.layers)
    unknown = in_file - set(names)
    present = [name in in_file for name in names]
    num_present = sum(present)
    if unknown or not num_present or not all(present[:num_present]):
        raise ValueError(
            f"The weight file must hold the layers of {backbone.name}, from the first one on and without its top. "
            f"Received {path}, with {len(in_file)} layers, of which {len(unknown)} are unknown to it "
            f"{sorted(unknown)[:3]}. Name the backbone that the file was saved from."
        )
    return "" if num_present == len(names) else backbone.layers[num_present - 1].name


def _layers_in(path: Path) -> set[str]:
    try:
        with h5py.File(path) as file:
            return set(file["layers"])
    except (OSError, KeyError) as error:
        raise ValueError(
            f"`weights` must be a weight file that Keras 3 saved (`Model.save_weights`). {path} cannot be read: {error}"
        ) from error


def _load_file(backbone: keras.Model, path: Path) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # Keras warns, and goes on, where layers stay random
            backbone.load_weights(path)
    except (ValueError, OSError, KeyError, UserWarning) as error:
        raise ValueError(
            f"The arrays of the weight file must have the shapes of {backbone.name}. {path} holds others, as a network "
            f"of another width or version would: {str(error).partition(chr(10))[0]}"
        ) from error
