"""Framework layer of the networks: gradients, compilation and convolutions, for TensorFlow or JAX.

TensorFlow is the default; the environment variable `KERAS_BACKEND=jax` selects JAX, as it does for Keras itself. No
module outside this package imports a framework.
"""

import os
from collections.abc import Callable
from typing import Any

# Both variables are read when Keras and TensorFlow are imported, so they are set before.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
from keras import ops, tree

from regan.common.errors import SettingError

NAME: str = keras.backend.backend()

if NAME == "tensorflow":
    from regan.backend.tensorflow import (
        Replicas,
        convolve,
        convolve_transposed,
        describe_devices,
        fuse,
        gpu_memory,
        gradient,
        jit,
        keep_compiled,
        leaky_relu,
        linear_operator,
        num_devices,
        value_and_gradient,
    )
elif NAME == "jax":
    from regan.backend.jax import (  # type: ignore[assignment]
        Replicas,
        convolve,
        convolve_transposed,
        describe_devices,
        fuse,
        gpu_memory,
        gradient,
        jit,
        keep_compiled,
        leaky_relu,
        linear_operator,
        num_devices,
        value_and_gradient,
    )
else:
    raise ImportError(
        "The Keras backend is not supported: RaGAN runs on TensorFlow or JAX. "
        f"Received KERAS_BACKEND={NAME!r}. Set KERAS_BACKEND=tensorflow or KERAS_BACKEND=jax before Python starts."
    )

__all__ = [
    "NAME",
    "OneDevice",
    "Replicas",
    "convolve",
    "convolve_transposed",
    "describe_devices",
    "fuse",
    "gpu_memory",
    "gradient",
    "jit",
    "jit_compile",
    "keep_compiled",
    "leaky_relu",
    "linear_operator",
    "num_devices",
    "replicate",
    "value_and_gradient",
]


def jit_compile() -> bool | str:
    """Value of `jit_compile` for `keras.Model.compile`.

    XLA everywhere except on a CPU with TensorFlow, whose own convolutions are faster there: for a small classifier, 11
    instead of 15 ms of CPU per step, and 4 instead of 9 s for the first one. JAX without jit would run op by op.
    """
    return False if NAME == "tensorflow" and not keras.distribution.list_devices("gpu") else "auto"


class OneDevice:
    """The methods of `Replicas` for a single device, without its overhead."""

    num = 1

    def copies(self, values: Any) -> Any:
        """Convert a nest of arrays of any shape to tensors."""
        return tree.map_structure(ops.convert_to_tensor, values)

    def shares(self, batch: Any) -> Any:
        """Convert a nest of arrays `(n, ...)` to tensors."""
        return tree.map_structure(ops.convert_to_tensor, batch)

    def mean(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Compile a function."""
        return jit(function)

    def each(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Compile a function without convolutions."""
        return fuse(function)

    def first(self, values: Any) -> Any:
        """Return the values unchanged."""
        return values


def replicate(devices: int, batch_size: int) -> OneDevice | Replicas:
    """Select the devices that share each batch.

    A share must be a multiple of 4 images, the group size of the minibatch standard deviation. Device r gets the
    samples `r::n`, so that the groups, which are interleaved, are the same as on one device.

    Args:
        devices: Number of devices; 0 = as many of the visible ones as can share the batch.
        batch_size: Images per batch.

    Raises:
        SettingError: There are fewer devices, or they cannot share the batch.
    """
    visible = num_devices()
    if not 0 <= devices <= visible:
        raise SettingError(
            f"`devices` must be 0 (all) to {visible}, the number of devices visible to {NAME}. Received "
            f"devices={devices}."
        )
    if devices and batch_size % (4 * devices):
        raise SettingError(
            "`devices` must divide the batch into shares of a multiple of 4 images. Received "
            f"devices={devices} for batch_size={batch_size}. Use {_largest_number(devices, batch_size)}."
        )
    num = devices or _largest_number(visible, batch_size)
    return Replicas(num) if num > 1 else OneDevice()


def _largest_number(most: int, batch_size: int) -> int:
    # One device can always take a batch, whatever its size.
    return max(num for num in range(1, most + 1) if num == 1 or batch_size % (4 * num) == 0)
