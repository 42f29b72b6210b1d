"""Conversion of official arrays to a configuration and weights of RaGAN.

The PyTorch path is tested with the arrays of two small official networks; the TensorFlow 1 path only follows the
description of its files, because none of them was available.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from regan.common.errors import CorruptFileError, WrongArtifactError
from regan.gan.configuration import GanConfig, configure
from regan.gan.generator_folder import STYLE_MEAN
from regan.nvidia.official import OfficialNetwork

_FILTER = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64
_RATE = 0.01  # learning rate of the mapping network relative to the rest, in all releases

# Names of the PyTorch release to ours, applied in this order: the general rule for weights is the last one.
_GENERATOR_NAMES = (
    (r"^mapping\.w_avg$", STYLE_MEAN),
    (r"\.b4\.const$", ".start"),
    (r"\.b(\d+)\.conv0\.", r".size_\1_up."),
    (r"\.b(\d+)\.conv1\.", r".size_\1_same."),
    (r"\.b(\d+)\.torgb\.", r".size_\1_image."),
    (r"\.embed\.", ".embedding."),
    (r"\.fc(\d+)\.", r".dense_\1."),
    (r"\.noise_const$", ".noise"),
    (r"^(synthesis\.size_\w+)\.(weight|affine)", r"\1.convolution.\2"),
    (r"weight$", "kernel"),
)
_DISCRIMINATOR_NAMES = (
    (r"^mapping\.embed\.", "discriminator.embedding."),
    (r"^mapping\.fc(\d+)\.", r"discriminator.dense_\1."),
    (r"^b4\.conv\.", "discriminator.last."),
    (r"^b4\.fc\.", "discriminator.dense."),
    (r"^b4\.out\.", "discriminator.score."),
    (r"^b\d+\.fromrgb\.", "discriminator.from_image."),
    (r"^b(\d+)\.conv0\.", r"discriminator.size_\1.first."),
    (r"^b(\d+)\.conv1\.", r"discriminator.size_\1.second."),
    (r"^b(\d+)\.skip\.", r"discriminator.size_\1.shortcut."),
    (r"weight$", "kernel"),
)
# Names of the TensorFlow release to those of PyTorch. Noise is numbered there and handled in `_from_tensorflow`.
_FROM_TENSORFLOW = (
    (r"^dlatent_avg$", "mapping.w_avg"),
    (r"^LabelEmbed/", "mapping.embed/"),
    (r"^Dense(\d+)/", r"mapping.fc\1/"),
    (r"^Mapping(\d+)/", r"mapping.fc\1/"),
    (r"^4x4/Const/const$", "synthesis.b4.const"),
    (r"^4x4/Conv/", "synthesis.b4.conv1/"),
    (r"^(\d+)x\1/Conv0_up/", r"synthesis.b\1.conv0/"),
    (r"^(\d+)x\1/Conv1/", r"synthesis.b\1.conv1/"),
    (r"^(\d+)x\1/ToRGB/", r"synthesis.b\1.torgb/"),
    (r"/mod_", ".affine."),
    (r"/", "."),
)
_FROM_TENSORFLOW_DISCRIMINATOR = (
    (r"^LabelEmbed/", "mapping.embed/"),
    (r"^Mapping(\d+)/", r"mapping.fc\1/"),
    (r"^4x4/Conv/", "b4.conv/"),
    (r"^4x4/Dense0/", "b4.fc/"),
    (r"^Output/", "b4.out/"),
    (r"^(\d+)x\1/FromRGB/", r"b\1.fromrgb/"),
    (r"^(\d+)x\1/Conv0/", r"b\1.conv0/"),
    (r"^(\d+)x\1/Conv1_down/", r"b\1.conv1/"),
    (r"^(\d+)x\1/Skip/", r"b\1.skip/"),
    (r"/", "."),
)


def generator_config(official: OfficialNetwork, labels: tuple[str, ...]) -> GanConfig:
    """Derive the configuration from the arrays of a generator.

    Settings that cannot be derived from them, such as the batch size, are those of `config-e`.

    Args:
        official: A generator, `G_ema` or `G`.
        labels: Names of its classes, as many as it has labels; one for a network without labels.

    Raises:
        WrongArtifactError: The architecture is not supported.
    """
    _require_supported(official)
    arrays = _in_torch_layout(official, discriminator=False)
    sizes = sorted({int(found[1]) for name in arrays if (found := re.match(r"synthesis\.b(\d{1,4})\.", name))})
    num_layers = len([name for name in arrays if re.fullmatch(r"mapping\.fc\d+\.weight", name)])
    try:
        # Biases are one number per map, which is the width of a layer, whatever the layout of its kernel.
        maps = {size: len(arrays[f"synthesis.b{size}.conv1.bias"]) for size in sizes}
        channels = len(arrays["synthesis.b4.torgb.bias"])
        style_size = len(arrays["mapping.w_avg"])
        embedding = arrays.get("mapping.embed.weight")
        latent_size = arrays["mapping.fc0.weight"].shape[1] - (0 if embedding is None else len(embedding))
        num_labels = 0 if embedding is None else embedding.shape[1]
    except (KeyError, IndexError, TypeError) as error:
        raise _unsupported_error(f"an array is missing or has another shape ({error})") from error
    if min(*maps.values(), latent_size, style_size) < 1:
        raise _unsupported_error("an array is empty")
    if max(num_labels, 1) != len(labels):
        raise WrongArtifactError(
            f"The network has {num_labels} labels, but RaGAN supports networks without labels and with two. "
            f"Received {len(labels)} names in `classes`: {', '.join(labels)}."
        )
    # Feature maps are min(2 * base_maps / size, max_maps), and the largest size has the fewest.
    largest = sizes[-1]
    return configure(
        "config-e",
        size=largest,
        channels=channels,
        labels=labels,
        base_maps=maps[largest] * largest // 2,
        max_maps=max(maps.values()),
        latent_size=latent_size,
        style_size=style_size,
        mapping_layers=num_layers,
        mapping_rate=_mapping_rate(official),
    )


def generator_weights(official: OfficialNetwork) -> dict[str, np.ndarray]:
    """Convert weights, constant noise and `style_mean` of a generator.

    Args:
        official: A generator.

    Returns:
        Arrays by path in RaGAN's layout, float32: kernels `(size, size, maps, filters)`, dense kernels `(width,
        units)`.
    """
    return _translate(_in_torch_layout(official, discriminator=False), _GENERATOR_NAMES)


def discriminator_weights(official: OfficialNetwork) -> dict[str, np.ndarray]:
    """Convert the weights of a discriminator.

    Args:
        official: A discriminator.

    Returns:
        Arrays by path in RaGAN's layout, float32: kernels `(size, size, maps, filters)`, dense kernels `(width,
        units)`.
    """
    return _translate(_in_torch_layout(official, discriminator=True), _DISCRIMINATOR_NAMES)


def activation_clamp(official: OfficialNetwork) -> float:
    """Bound at which the official network clamps activations, which ours does not; 0 = none."""
    return max(
        (float(value) for value in _settings_named(official, "conv_clamp") if not isinstance(value, str)), default=0.0
    )


def generator_shapes(config: GanConfig) -> dict[str, tuple[int, ...]]:
    """Shape of every array in a generator folder, without building the network: a file may declare a huge one."""
    shapes: dict[str, tuple[int, ...]] = {STYLE_MEAN: (config.style_size,), "synthesis/start": (4, 4, config.maps(4))}
    width = config.latent_size
    if config.num_labels:
        shapes |= _dense("mapping/embedding", config.num_labels, width)
        width *= 2
    for index in range(config.mapping_layers):
        shapes |= _dense(f"mapping/dense_{index}", width, config.style_size)
        width = config.style_size
    maps = config.maps(4)
    for size in config.sizes:
        for part in ("same",) if size == 4 else ("up", "same"):
            layer = f"synthesis/size_{size}_{part}"
            shapes |= _modulated_shapes(layer, 3, maps, config.maps(size), config.style_size)
            shapes |= {f"{layer}/noise_strength": (), f"{layer}/noise": (size, size, 1)}
            maps = config.maps(size)
        shapes |= _modulated_shapes(f"synthesis/size_{size}_image", 1, maps, config.channels, config.style_size)
    return shapes


def discriminator_shapes(config: GanConfig) -> dict[str, tuple[int, ...]]:
    """Shape of every array of the discriminator of such a generator, without building it."""
    top, name = config.maps(4), "discriminator"
    shapes = _convolution(f"{name}/from_image", 1, config.channels, config.maps(config.size))
    for size in config.sizes[1:]:
        block, maps, filters = f"{name}/size_{size}", config.maps(size), config.maps(size // 2)
        shapes |= _convolution(f"{block}/first", 3, maps, maps) | _convolution(f"{block}/second", 3, maps, filters)
        shapes[f"{block}/shortcut/kernel"] = (1, 1, maps, filters)
    shapes |= _convolution(f"{name}/last", 3, top + 1, top) | _dense(f"{name}/dense", 16 * top, top)
    shapes |= _dense(f"{name}/score", top, top if config.num_labels else 1)
    if config.num_labels:
        shapes |= _dense(f"{name}/embedding", config.num_labels, top)
        for index in range(config.mapping_layers):
            shapes |= _dense(f"{name}/dense_{index}", top, top)
    return shapes


def _convolution(path: str, kernel: int, maps: int, filters: int) -> dict[str, tuple[int, ...]]:
    return {f"{path}/kernel": (kernel, kernel, maps, filters), f"{path}/bias": (filters,)}


def _dense(path: str, width: int, units: int) -> dict[str, tuple[int, ...]]:
    return {f"{path}/kernel": (width, units), f"{path}/bias": (units,)}


def _modulated_shapes(path: str, kernel: int, maps: int, filters: int, style_size: int) -> dict[str, tuple[int, ...]]:
    return {
        f"{path}/convolution/kernel": (kernel, kernel, maps, filters),
        f"{path}/bias": (filters,),
        **_dense(f"{path}/convolution/affine", style_size, maps),
    }


def require_fit(weights: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse weights whose paths or shapes differ from those of our network.

    Args:
        weights: Arrays of any shape by path.
        shapes: Expected shapes by path, such as `(3, 3, maps, filters)`.

    Raises:
        WrongArtifactError: They differ.
    """
    other = sorted(set(weights) ^ set(shapes))
    other += [path for path in weights if path in shapes and weights[path].shape != shapes[path]]
    if other:
        raise _unsupported_error(f"{len(other)} arrays differ in name or shape, such as {other[0]}")


def require_finite(weights: Mapping[str, np.ndarray]) -> None:
    """Refuse weights, arrays of any shape `(...,)` by path, that contain NaN or infinity.

    Raises:
        CorruptFileError: They do.
    """
    broken = [path for path, value in weights.items() if not np.isfinite(value).all()]
    if broken:
        raise CorruptFileError(
            f"The weights contain NaN or infinity: {broken[0]} and {len(broken) - 1} more arrays. Use another file."
        )


def require_our_rate(discriminator: OfficialNetwork, config: GanConfig) -> None:
    """Refuse a discriminator whose label layers have another relative learning rate than the mapping network.

    Raises:
        WrongArtifactError: The rates differ. The rate is a factor on the weights, and ours has one for both networks.
    """
    if config.num_labels and (rate := _mapping_rate(discriminator)) != config.mapping_rate:
        raise _unsupported_error(
            f"label layers have the relative learning rate {rate:g} instead of {config.mapping_rate:g}"
        )


def _require_supported(official: OfficialNetwork) -> None:
    for name, expected in (("architecture", "skip"), ("activation", "lrelu"), ("nonlinearity", "lrelu")):
        for value in _settings_named(official, name):
            if value not in (expected, "linear"):
                raise _unsupported_error(f"its {name} is {value!r} instead of {expected!r}")
    for name, value in official.arrays.items():
        if name.endswith("resample_filter") and not _is_our_filter(value):
            raise _unsupported_error(f"its {name} is not the filter [1, 3, 3, 1]")
    for value in _settings_named(official, "resample_kernel"):
        if value != [1, 3, 3, 1]:
            raise _unsupported_error(f"its filter is {value} instead of [1, 3, 3, 1]")


def _is_our_filter(values: np.ndarray) -> bool:
    # Stored as two dimensions, or as one for separable filters; in half precision, hence the tolerance.
    if values.ndim == 1:
        values = np.outer(values, values)
    return values.shape == _FILTER.shape and bool(np.allclose(values, _FILTER, atol=1e-3))


def _mapping_rate(official: OfficialNetwork) -> float:
    # The gain on a bias is the relative learning rate of its layer.
    pattern = r"mapping\.fc\d+\.bias_gain|mapping_lrmul"
    values = [value for name, value in official.settings.items() if re.fullmatch(pattern, name)]
    rates = {float(value) for value in values if isinstance(value, int | float)} or {_RATE}
    rate = rates.pop()
    if rates or not 0 < rate <= 1:
        raise _unsupported_error("the layers of its mapping network have different learning rates")
    return rate


def _settings_named(official: OfficialNetwork, name: str) -> list[Any]:
    return [value for key, value in official.settings.items() if key.rpartition(".")[2] == name]


def _unsupported_error(why: str) -> WrongArtifactError:
    return WrongArtifactError(
        f"The architecture of the network is not supported: {why}. Supported: StyleGAN2 with skip outputs, leaky ReLU "
        "and the filter [1, 3, 3, 1]. Export a StyleGAN2 network, configuration e or f, or train one with RaGAN."
    )


def _in_torch_layout(official: OfficialNetwork, *, discriminator: bool) -> dict[str, np.ndarray]:
    arrays = {name: value for name, value in official.arrays.items() if not name.endswith("resample_filter")}
    if official.release == "PyTorch":
        return arrays
    # `lod` is a variable of progressive growing that StyleGAN2 does not use.
    table = _FROM_TENSORFLOW_DISCRIMINATOR if discriminator else _FROM_TENSORFLOW
    return dict(_from_tensorflow(name, value, table) for name, value in arrays.items() if name != "lod")


def _from_tensorflow(name: str, value: np.ndarray, table: tuple[tuple[str, str], ...]) -> tuple[str, np.ndarray]:
    if name.startswith("LabelConcat/"):
        raise _unsupported_error("labels are concatenated with z before both are normalised")
    noise = re.fullmatch(r"noise(\d{1,2})", name)
    if noise:
        # noise0 belongs to 4 x 4; then there are two for each size, the first one for the upsampling layer.
        number = int(noise[1])
        place = "b4.conv1" if number == 0 else f"b{8 * 2 ** ((number - 1) // 2)}.conv{(number - 1) % 2}"
        return f"synthesis.{place}.noise_const", value.reshape(value.shape[-2:])
    renamed = _rename(name, table)
    # In the TensorFlow release, biases of the modulation lack the 1 that is added when they are used, kernels of
    # transposed convolutions are flipped, and dense weights are transposed.
    if renamed.endswith("affine.bias"):
        value = value + 1
    elif renamed.endswith("const"):
        value = value.reshape(value.shape[-3:])
    elif renamed.endswith("weight") and value.ndim == 4:
        flipped = value[::-1, ::-1] if name.endswith("/Conv0_up/weight") else value
        value = flipped.transpose(3, 2, 0, 1)
    elif renamed.endswith("weight"):
        value = value.T
    return renamed, value


def _translate(arrays: Mapping[str, np.ndarray], table: tuple[tuple[str, str], ...]) -> dict[str, np.ndarray]:
    return dict(_to_our_layout(_rename(name, table).replace(".", "/"), value) for name, value in arrays.items())


def _to_our_layout(path: str, value: np.ndarray) -> tuple[str, np.ndarray]:
    """Channels last, and kernels with the outputs last; the discriminator's dense layer has rows, columns, maps."""
    if path == "synthesis/start" and value.ndim == 3:
        value = value.transpose(1, 2, 0)
    elif path.endswith("/noise"):
        value = value[..., None]
    # The official discriminator flattens maps of 4 x 4 channels first, ours channels last.
    elif path == "discriminator/dense/kernel" and value.ndim == 2 and value.shape[1] % 16 == 0:
        maps = value.shape[1] // 16
        value = value.reshape(-1, maps, 4, 4).transpose(2, 3, 1, 0).reshape(16 * maps, -1)
    elif value.ndim == 4:
        value = value.transpose(2, 3, 1, 0)
    elif value.ndim == 2:
        value = value.T
    return path, np.array(value, np.float32, order="C")


def _rename(name: str, table: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in table:
        name = re.sub(pattern, replacement, name)
    return name
