"""Gradients, compilation and convolutions on TensorFlow."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

Function = Callable[..., Any]


def gradient(function: Function) -> Function:
    """Gradient of a scalar function by its only argument; may be differentiated again."""

    def differentiate(x: Any) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            value = function(x)
        return tape.gradient(value, x)

    return differentiate


def value_and_gradient(function: Function) -> Function:
    """Values and gradient of `function(parameters, *rest) -> (loss, figures)` by its first argument.

    Returns:
        A function that gives `((loss, figures), gradients)`; the gradients have the structure of `parameters`, and are
        zero where the loss does not depend on one.
    """

    def differentiate(parameters: Any, *rest: Any) -> tuple[tuple[Any, Any], Any]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(parameters)
            loss, figures = function(parameters, *rest)
        gradients = tape.gradient(loss, parameters, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return (loss, figures), gradients

    return differentiate


def jit(function: Function) -> Function:
    """`function`, compiled by XLA on its first call; a pure function of tensors, or nests of them, of fixed shapes."""
    return tf.function(function, jit_compile=True, autograph=False)


def linear_operator(forward: Function, adjoint: Function) -> tuple[Function, Function]:
    """A linear operator and its adjoint, each with the other as its gradient.

    The pair is closed under differentiation of any order, so that gradients of gradients cost what the operators cost.
    """

    @tf.custom_gradient
    def apply(x: Any) -> tuple[Any, Function]:
        return forward(x), lambda upstream: apply_adjoint(upstream)

    @tf.custom_gradient
    def apply_adjoint(y: Any) -> tuple[Any, Function]:
        return adjoint(y), lambda upstream: apply(upstream)

    return apply, apply_adjoint


def convolve(x: Any, kernel: Any, stride: int = 1) -> Any:
    """Convolution of `(n, h, w, c_in)` with `(k, k, c_in, c_out)`: same size at stride 1, no padding at stride 2."""
    return tf.nn.conv2d(x, kernel, stride, "SAME" if stride == 1 else "VALID")


def convolve_transposed(x: Any, kernel: Any) -> Any:
    """Transposed convolution of stride 2 of `(n, h, w, c_in)` and `(3, 3, c_in, c_out)`: `(n, 2h + 1, 2w + 1, c_out)`.

    Pixel `(i, j)` of `x` adds `kernel[a, b]` times itself to pixel `(2i + a, 2j + b)`.
    """
    num, height, width, _ = x.shape
    shape = (num, 2 * height + 1, 2 * width + 1, kernel.shape[-1])
    return tf.nn.conv2d_transpose(x, tf.transpose(kernel, (0, 1, 3, 2)), shape, 2, "VALID")


def gpu_memory() -> int:
    """Bytes used on the first GPU at the most so far; 0 without one."""
    if not tf.config.list_logical_devices("GPU"):
        return 0
    return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])


def describe_devices() -> str:
    """The devices that compute, in words."""
    gpus = tf.config.list_physical_devices("GPU")
    names = [tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus]
    return ", ".join(names) if names else "CPU"
