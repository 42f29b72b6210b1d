"""The framework under the networks: gradients, compilation and convolutions, for TensorFlow or JAX.

TensorFlow is the default; `KERAS_BACKEND=jax` in the environment chooses JAX, as it does for Keras itself. Nothing
outside this package names a framework.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras

NAME: str = keras.backend.backend()

if NAME == "tensorflow":
    from regan.backend.tensorflow import (
        convolve,
        convolve_transposed,
        describe_devices,
        gpu_memory,
        gradient,
        jit,
        linear_operator,
        value_and_gradient,
    )
elif NAME == "jax":
    from regan.backend.jax import (
        convolve,
        convolve_transposed,
        describe_devices,
        gpu_memory,
        gradient,
        jit,
        linear_operator,
        value_and_gradient,
    )
else:
    raise ImportError(
        f"RaGAN runs on Keras with TensorFlow or JAX. Received KERAS_BACKEND={NAME!r}. "
        "Set KERAS_BACKEND=tensorflow or KERAS_BACKEND=jax before Python starts."
    )

__all__ = [
    "NAME",
    "convolve",
    "convolve_transposed",
    "describe_devices",
    "gpu_memory",
    "gradient",
    "jit",
    "jit_compile",
    "linear_operator",
    "value_and_gradient",
]


def jit_compile() -> bool | str:
    """What `keras.Model.compile` is given as `jit_compile`.

    XLA everywhere but for small classifiers on a CPU with TensorFlow, whose own convolutions are quicker there:
    measured 11 against 15 ms of CPU a step, after 4 against 9 s for the first one. JAX without jit would run op by op.
    """
    return False if NAME == "tensorflow" and not keras.distribution.list_devices("gpu") else "auto"
