"""Networks in an official pickle, as plain arrays by their official names."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from regan.common.errors import SettingError
from regan.nvidia.numpy_arrays import NUMPY_NAMES, PickledArray
from regan.nvidia.torch_storage import StorageReader, tensor
from regan.nvidia.unpickling import Inert, Source, Unpickler, refuse

NETWORKS = ("G_ema", "G", "D")
_IN_TENSORFLOW = {"G": 0, "D": 1, "G_ema": 2}  # positions in the tuple (G, D, Gs) of the TensorFlow release
_TORCH_MODULE, _TENSORFLOW_NETWORK = "torch.nn.Module", "dnnlib.tflib.network.Network"
# These names may occur, but are never called.
_TORCH_CONSTANTS = ("float16", "float32", "float64", "bfloat16", "int64", "int32", "uint8", "bool")
_PARTS = ("_parameters", "_buffers")


@dataclass(frozen=True)
class OfficialNetwork:
    """One network of an official file.

    Attributes:
        release: `PyTorch` or `TensorFlow 1`.
        arrays: Weights and buffers by name, such as `synthesis.b4.const`, in the layout of their release.
        settings: Numbers and strings among the attributes of modules, by name, such as `synthesis.b8.architecture`.
    """

    release: str
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


def read_official(file: str | Path, network: str = "G_ema") -> OfficialNetwork:
    """Read one network of an official StyleGAN2 pickle. Nothing in the file is executed.

    Args:
        file: Pickle of stylegan2-ada-pytorch, or of the TensorFlow 1 releases.
        network: `G_ema` (moving average of the generator, the one to use), `G` or `D`.

    Raises:
        SettingError: `network` has another value.
        UnsafeFileError: The file is not such a pickle, is corrupt, or contains anything but arrays and listed names.
        OSError: The file cannot be read.
    """
    if network not in NETWORKS:
        raise SettingError(f"`network` must be one of {', '.join(NETWORKS)}. Received network={network!r}.")
    return read_pair(file, network)[0]


def read_pair(file: str | Path, network: str) -> tuple[OfficialNetwork, OfficialNetwork | None]:
    """Read a generator and the discriminator in the same file, None if there is none. See `read_official`."""
    with Path(file).open("rb") as opened:
        size = os.fstat(opened.fileno()).st_size
        content = Unpickler(Source(opened, size), _names(StorageReader(size))).load()
    if isinstance(content, dict) and isinstance(content.get(network), Inert):
        discriminator = content.get("D")
        return _of_torch(content[network]), _of_torch(discriminator) if isinstance(discriminator, Inert) else None
    if isinstance(content, tuple) and len(content) == len(NETWORKS):
        generator, discriminator = content[_IN_TENSORFLOW[network]], content[_IN_TENSORFLOW["D"]]
        return _of_tensorflow(generator), _of_tensorflow(discriminator) if isinstance(discriminator, Inert) else None
    refuse(f"it contains no network {network} in the format of the official releases")


def _names(storages: StorageReader) -> Mapping[str, Callable[..., Any] | None]:
    return (
        NUMPY_NAMES
        | {f"torch.{name}": None for name in _TORCH_CONSTANTS}
        | {
            "torch.Size": _size,
            "torch.device": lambda *_: None,
            "torch._utils._rebuild_tensor_v2": tensor,
            "torch._utils._rebuild_tensor": tensor,
            # A parameter is its tensor; flags for gradients and hooks are dropped.
            "torch._utils._rebuild_parameter": lambda data, *_: data,
            "torch._utils._rebuild_parameter_with_state": lambda data, *_: data,
            "torch.storage._load_from_bytes": storages.read,
            "torch_utils.persistence._reconstruct_persistent_obj": _module,
        }
    )


def _size(lengths: Any) -> tuple[Any, ...]:
    if not isinstance(lengths, tuple | list) or len(lengths) > 8:
        refuse("a shape is not a short tuple of numbers")
    return tuple(lengths)


def _module(meta: Any) -> Inert:
    """Make a module from its description. The Python source in it (`module_src`) is never read."""
    if not isinstance(meta, dict) or not isinstance(meta.get("state"), dict):
        refuse("a module has no state")
    return Inert(_TORCH_MODULE, meta["state"])


def _of_torch(module: Inert) -> OfficialNetwork:
    # A loop instead of a recursion, and each module once: a malicious file may nest modules deeply or in a cycle.
    found = OfficialNetwork("PyTorch")
    waiting, seen = [("", module)], {id(module)}
    while waiting:
        prefix, current = waiting.pop()
        state = current.state or {}
        for name, value in state.items():
            if isinstance(value, str | int | float):
                found.settings[f"{prefix}{name}"] = value
        for name, value in _members(state, *_PARTS):
            if (array := _array(value)) is not None:
                found.arrays[f"{prefix}{name}"] = array
        for name, value in _members(state, "_modules"):
            if isinstance(value, Inert):
                if id(value) in seen:
                    refuse(f"the module {prefix}{name} occurs twice")
                seen.add(id(value))
                waiting.append((f"{prefix}{name}.", value))
    return found


def _members(state: dict[str, Any], *parts: str) -> list[tuple[str, Any]]:
    dictionaries = [state.get(part, {}) for part in parts]
    if not all(isinstance(members, dict) and all(isinstance(key, str) for key in members) for members in dictionaries):
        refuse("the members of a module are not a dictionary by name")
    return [pair for members in dictionaries for pair in members.items()]


def _of_tensorflow(network: Any) -> OfficialNetwork:
    found = OfficialNetwork("TensorFlow 1")
    components = _state(network).get("components", {})
    if not isinstance(components, dict):
        refuse("the components of a network are not a dictionary")
    for part in (network, *components.values()):
        state = _state(part)
        for pair in _list(state.get("variables")):
            if not isinstance(pair, tuple) or len(pair) != 2 or not isinstance(pair[0], str):
                refuse("the variables of a network are not pairs of name and array")
            # A variable without axes is a NumPy scalar, which was read as a plain number.
            value = np.array(pair[1]) if isinstance(pair[1], float) else _array(pair[1])
            if value is not None:
                found.arrays[pair[0]] = value
        settings = state.get("static_kwargs", {})
        for name, value in settings.items() if isinstance(settings, dict) else ():
            if isinstance(value, str | int | float | list):
                found.settings[str(name)] = value
    return found


def _state(network: Any) -> dict[str, Any]:
    if not isinstance(network, Inert) or network.of != _TENSORFLOW_NETWORK or network.state is None:
        refuse("a part of it is not a network of the TensorFlow 1 releases")
    return network.state


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else refuse("a network has no list of variables")


def _array(value: Any) -> np.ndarray | None:
    if isinstance(value, PickledArray):
        return value.values
    return value if isinstance(value, np.ndarray) else None
