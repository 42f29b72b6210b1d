"""The framework under the networks: gradients, compilation and convolutions, for TensorFlow or JAX.

TensorFlow is the default; `KERAS_BACKEND=jax` in the environment chooses JAX, as it does for Keras itself. Nothing
outside this package names a framework.
"""

import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
from keras import ops, tree

NAME: str = keras.backend.backend()

if NAME == "tensorflow":
    from regan.backend.tensorflow import (
        Replicas,
        convolve,
        convolve_transposed,
        describe_devices,
        fused,
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
        fused,
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
        f"RaGAN runs on Keras with TensorFlow or JAX. Received KERAS_BACKEND={NAME!r}. "
        "Set KERAS_BACKEND=tensorflow or KERAS_BACKEND=jax before Python starts."
    )

__all__ = [
    "NAME",
    "OneDevice",
    "Replicas",
    "convolve",
    "convolve_transposed",
    "describe_devices",
    "fused",
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
    """What `keras.Model.compile` is given as `jit_compile`.

    XLA everywhere but for small classifiers on a CPU with TensorFlow, whose own convolutions are quicker there:
    measured 11 against 15 ms of CPU a step, after 4 against 9 s for the first one. JAX without jit would run op by op.
    """
    return False if NAME == "tensorflow" and not keras.distribution.list_devices("gpu") else "auto"


class OneDevice:
    """The methods of `Replicas` where there is one."""

    num = 1

    def copies(self, values: Any) -> Any:
        """A nest of tensors."""
        return tree.map_structure(ops.convert_to_tensor, values)

    def shares(self, batch: Any) -> Any:
        """A nest of tensors."""
        return tree.map_structure(ops.convert_to_tensor, batch)

    def mean(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, compiled."""
        return jit(function)

    def each(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, which has no convolutions, compiled."""
        return fused(function)

    def first(self, values: Any) -> Any:
        """The same values."""
        return values


def replicate(devices: int, batch_size: int) -> OneDevice | Replicas:
    """The devices that share each batch.

    A share must be a multiple of 4 images, the group of the minibatch deviation. Device r is given the samples `r::n`,
    so that the groups are those of one device.

    Args:
        devices: How many; 0 = as many of the visible ones as can share the batch.
        batch_size: Images that they share.

    Raises:
        ValueError: There are fewer, or they cannot share the batch.
    """
    visible = num_devices()
    if not 0 <= devices <= visible:
        raise ValueError(
            f"`devices` must be 0, for all, or up to the number of devices that {NAME} sees, {visible}. Received "
            f"devices={devices}."
        )
    if devices and batch_size % (4 * devices):
        raise ValueError(
            "`devices` must divide the batch into shares of a multiple of 4 images. Received "
            f"devices={devices} for batch_size={batch_size}. Take {_largest_number(devices, batch_size)}."
        )
    num = devices or _largest_number(visible, batch_size)
    return Replicas(num) if num > 1 else OneDevice()


def _largest_number(most: int, batch_size: int) -> int:
    return max(num for num in range(1, most + 1) if num == 1 or batch_size % (4 * num) == 0)
