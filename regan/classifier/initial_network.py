"""Initial network of a training: random weights, pretrained weights, or those of a trained classifier."""

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
from regan.common.errors import CorruptFileError, MissingWeightsError, SettingError, WrongArtifactError
from regan.common.files import file_hash

IMAGENET = "imagenet"
NONE = "none"
_SUFFIX = ".weights.h5"
_SMALL_RATE = 3e-3  # best of 1, 2, 3 and 4e-3 on phantom images after 20 epochs
_LICENCES = {"VGG16": "CC BY 4.0", "VGG19": "CC BY 4.0"}


@dataclass(frozen=True)
class Origin:
    """Source of the initial weights, for `model.json`.

    Attributes:
        source: `none`, `imagenet`, or the name of the file.
        sha256: SHA-256 of the file; empty = no file.
        licence: Licence, as far as it is known.
    """

    source: str
    sha256: str = ""
    licence: str = ""


@dataclass(frozen=True)
class InitialNetwork:
    """A network before training.

    Attributes:
        configuration: Configuration that it was built from.
        network: Model from scaled images to the probabilities of both classes; see `build_network`.
        learning_rate: Initial learning rate for these weights.
        origin: Source of the weights, for `model.json`.
    """

    configuration: Configuration
    network: keras.Model = field(repr=False)
    learning_rate: float
    origin: dict[str, Any]


def new_network(images: ImageSet, recipe: Recipe, *, backbone: str, weights: str, seed: int) -> InitialNetwork:
    """Build a network for the images of a set.

    Args:
        images: Gives size and channels.
        recipe: Gives scaling and learning rate.
        backbone: See `Configuration`.
        weights: See `load_backbone`.
        seed: Seed of the random weights.

    Raises:
        SettingError: See `require_weights`.
        MissingWeightsError: The weights cannot be found or downloaded.
    """
    require_weights(weights, backbone)
    # Before any layer is built: layers draw their weights from the seed of the process.
    keras.utils.set_random_seed(seed)
    configuration = Configuration(backbone, images.size, images.channels, recipe.scaling)
    if backbone == SMALL:
        return InitialNetwork(configuration, build_network(configuration), _SMALL_RATE, asdict(Origin(NONE)))
    configuration, base, origin = load_backbone(configuration, weights)
    # Pretrained weights are already good: large steps at the start would destroy them.
    rate = recipe.learning_rate if weights == NONE else recipe.tuning_rate
    return InitialNetwork(configuration, build_network(configuration, base), rate, asdict(origin))


def network_from_classifier(
    start: str | Path, images: ImageSet, recipe: Recipe, *, backbone: str, seed: int
) -> InitialNetwork:
    """Load the network of a trained classifier, to continue its training (fine-tuning).

    Args:
        start: Folder of the classifier.
        images: Images that will train it.
        recipe: Gives scaling and learning rate.
        backbone: Backbone that the caller asked for.
        seed: Seed of Keras, for layers with random numbers.

    Raises:
        WrongArtifactError: The classifier has another backbone or scaling, or was trained on images of another kind.
    """
    keras.utils.set_random_seed(seed)
    classifier = Classifier.load(start)
    if classifier.configuration.backbone != backbone:
        raise WrongArtifactError(
            f"The classifier in {start} has another backbone, {classifier.configuration.backbone!r}. Received "
            f"backbone={backbone!r}. Pass `backbone={classifier.configuration.backbone!r}` to continue its training."
        )
    if classifier.configuration.scaling != recipe.scaling:
        raise WrongArtifactError(
            f"The classifier in {start} was trained with another scaling, {classifier.configuration.scaling!r}. The "
            f"recipe has {recipe.scaling!r}. Use the recipe that trained it."
        )
    require_kind_of_model(images, "images", classifier.size, classifier.channels, classifier.classes)
    # Licences follow the weights: what the first round started from still holds for a later one.
    origin = read_model(start, "classifier")["first_weights"]
    return InitialNetwork(classifier.configuration, classifier.network, recipe.tuning_rate, origin)


def require_weights(weights: str, backbone: str) -> None:
    """Check the argument `weights` before any work.

    Raises:
        SettingError: `weights` is not `imagenet`, `none` or a weight file, or the backbone has no pretrained weights.
        MissingWeightsError: The file does not exist.
    """
    if weights not in (IMAGENET, NONE) and not weights.endswith(_SUFFIX):
        raise SettingError(
            f"`weights` must be `{IMAGENET}`, `{NONE}` or a file whose name ends in `{_SUFFIX}`. "
            f"Received weights={weights!r}."
        )
    if backbone == SMALL and weights != NONE:
        raise SettingError(
            f'`backbone="{SMALL}"` has no pretrained weights. Received weights={weights!r}. Pass `weights="{NONE}"`.'
        )
    if weights.endswith(_SUFFIX) and not Path(weights).is_file():
        raise MissingWeightsError(f"The weight file does not exist. Received weights={weights!r}. Check the path.")


def load_backbone(configuration: Configuration, weights: str) -> tuple[Configuration, keras.Model, Origin]:
    """Build a network of keras.applications with the requested weights.

    Args:
        configuration: A network of keras.applications.
        weights: `imagenet`, `none` or the path of a `.weights.h5` file. A file may contain the first layers only (up to
            `conv_pw_12_relu` of MobileNet, for example); the network then ends with the last of them.

    Returns:
        The configuration, with that last layer; the backbone; the source of its weights.

    Raises:
        MissingWeightsError: The ImageNet weights are not on this machine and cannot be downloaded.
        CorruptFileError: The file cannot be read.
        WrongArtifactError: The file belongs to another network.
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
        raise MissingWeightsError(
            f"The ImageNet weights of {configuration.backbone} are not on this machine and cannot be downloaded: "
            f'{error} Pass a file with `weights=...{_SUFFIX}`, or use random weights with `weights="{NONE}"`.'
        ) from error
    _copy_weights(pretrained, backbone, configuration.backbone)
    return backbone


def _copy_weights(pretrained: keras.Model, backbone: keras.Model, name: str) -> None:
    # Some constructors (EfficientNetB0 to B7) add a layer only with ImageNet weights; such a network could not be built
    # from its configuration without downloading them again.
    if [type(layer) for layer in pretrained.layers] != [type(layer) for layer in backbone.layers]:
        raise SettingError(
            f"{name} has other layers with ImageNet weights than without, so it cannot be stored as configuration and "
            "arrays. Use another backbone, such as EfficientNetV2B0."
        )
    for source, target in zip(pretrained.layers, backbone.layers):
        target.set_weights(source.get_weights())


def _imagenet_origin(configuration: Configuration) -> Origin:
    licence = _LICENCES.get(configuration.backbone, "see https://keras.io/api/applications and the ImageNet terms")
    return Origin(IMAGENET, "", licence)


def _last_layer(backbone: keras.Model, path: Path) -> str:
    """The last layer that the file contains; empty if it contains the whole network."""
    in_file = _layers_in(path)
    # A file may end early, but have no gaps: a layer without weights in the middle would stay random.
    names = container_names(backbone.layers)
    unknown = in_file - set(names)
    present = [name in in_file for name in names]
    num_present = sum(present)
    if unknown or not num_present or not all(present[:num_present]):
        raise WrongArtifactError(
            f"The weight file does not contain the layers of {backbone.name}, from the first one on, without its top. "
            f"Received {path} with {len(in_file)} layers, {len(unknown)} of them not in this network "
            f"{sorted(unknown)[:3]}. Pass the backbone that the file was saved from."
        )
    return "" if num_present == len(names) else backbone.layers[num_present - 1].name


def _layers_in(path: Path) -> set[str]:
    try:
        with h5py.File(path) as file:
            return set(file["layers"])
    except (OSError, KeyError) as error:
        raise CorruptFileError(
            f"The weight file {path} cannot be read: {error} `weights` must be a file that Keras 3 saved "
            "(`Model.save_weights`)."
        ) from error


def _load_file(backbone: keras.Model, path: Path) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # Keras only warns when layers keep their random weights
            backbone.load_weights(path)
    except (ValueError, OSError, KeyError, UserWarning) as error:
        raise WrongArtifactError(
            f"The arrays of {path} do not have the shapes of {backbone.name}, but of a network of another width or "
            f"version: {str(error).partition(chr(10))[0]}"
        ) from error
