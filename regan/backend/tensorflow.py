"""Gradients, compilation and convolutions with TensorFlow."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

Function = Callable[..., Any]


def gradient(function: Function) -> Function:
    """Return the gradient of a scalar function by its only argument; it can be differentiated again."""

    def differentiate(x: Any) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            value = function(x)
        return tape.gradient(value, x)

    return differentiate


def value_and_gradient(function: Function) -> Function:
    """Return values and gradient of `function(parameters, *rest) -> (loss, figures)` by its first argument.

    Returns:
        A function that returns `((loss, figures), gradients)`; the gradients have structure and shapes of `parameters`,
        and are zero for parameters that the loss does not depend on.
    """

    def differentiate(parameters: Any, *rest: Any) -> tuple[tuple[Any, Any], Any]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(parameters)
            loss, figures = function(parameters, *rest)
        gradients = tape.gradient(loss, parameters, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return (loss, figures), gradients

    return differentiate


def jit(function: Function) -> Function:
    """Compile a pure function of tensors, or nests of them, of fixed shapes, on its first call.

    On a GPU with XLA. On a CPU as a graph of TensorFlow's own operations, whose convolutions (oneDNN) are faster than
    XLA's; only functions passed to `fuse` are compiled with XLA (ADR 16).
    """
    return tf.function(function, jit_compile=bool(tf.config.list_physical_devices("GPU")), autograph=False)


def fuse(function: Function) -> Function:
    """Compile a function without convolutions with XLA, which fuses its operations into few passes over memory."""
    return tf.function(function, jit_compile=True, autograph=False)


def _fuse_in_graphs(function: Function) -> Function:
    # Compiling pays off within a larger graph only; called eagerly, for single shapes, it would cost seconds.
    compiled = fuse(function)
    return lambda x: function(x) if tf.executing_eagerly() else compiled(x)


def linear_operator(forward: Function, adjoint: Function) -> tuple[Function, Function]:
    """Make a linear operator and its adjoint, each with the other as its gradient.

    The pair is closed under differentiation of any order, so that gradients of gradients cost as much as the operators.

    Args:
        forward: Linear function of one tensor.
        adjoint: Its adjoint.
    """

    forward, adjoint = _fuse_in_graphs(forward), _fuse_in_graphs(adjoint)

    @tf.custom_gradient
    def apply(x: Any) -> tuple[Any, Function]:
        return forward(x), lambda upstream: apply_adjoint(upstream)

    @tf.custom_gradient
    def apply_adjoint(y: Any) -> tuple[Any, Function]:
        return adjoint(y), lambda upstream: apply(upstream)

    return apply, apply_adjoint


def leaky_relu(x: Any, slope: float) -> Any:
    """Leaky ReLU of a tensor of any shape; the gradient at 0 is `slope`.

    The gradient is computed from the output, whose sign is that of `x`, so that TensorFlow can fuse the activation with
    the convolution before it and need not store `x`.
    """

    @tf.custom_gradient
    def apply(x: Any) -> tuple[Any, Function]:
        y = tf.nn.leaky_relu(x, slope)
        return y, lambda upstream: gradient_at(upstream, tf.stop_gradient(y))

    @tf.custom_gradient
    def gradient_at(upstream: Any, y: Any) -> tuple[Any, Function]:
        values = tf.raw_ops.LeakyReluGrad(gradients=upstream, features=y, alpha=slope)
        return values, lambda upper: (gradient_at(upper, y), None)

    return apply(x)


def convolve(x: Any, kernel: Any, stride: int = 1) -> Any:
    """Convolve `(n, h, w, c_in)` with `(k, k, c_in, c_out)`: same size at stride 1, no padding at stride 2."""
    return tf.nn.conv2d(x, kernel, stride, "SAME" if stride == 1 else "VALID")


def convolve_transposed(x: Any, kernel: Any) -> Any:
    """Transposed convolution of stride 2 of `(n, h, w, c_in)` and `(3, 3, c_in, c_out)`: `(n, 2h + 1, 2w + 1, c_out)`.

    Pixel `(i, j)` of `x` adds `kernel[a, b]` times itself to pixel `(2i + a, 2j + b)`.
    """
    # TensorFlow takes the kernel of the convolution whose gradient this is, (k, k, c_out, c_in).
    num, height, width, _ = x.shape
    shape = (num, 2 * height + 1, 2 * width + 1, kernel.shape[-1])
    return tf.nn.conv2d_transpose(x, tf.transpose(kernel, (0, 1, 3, 2)), shape, 2, "VALID")


def keep_compiled(folder: Path) -> None:
    """Do nothing: TensorFlow's cache of compiled functions ends the process if an entry is incomplete.

    Users can enable it with `TF_XLA_FLAGS=--tf_xla_persistent_cache_directory=...` before Python starts.
    """
    del folder


class Replicas:
    """Several devices, each with a copy of the state and its share of the batch.

    Args:
        num: Number of devices, the first of the visible ones.
    """

    def __init__(self, num: int) -> None:
        self.num = num
        self._devices = [device.name for device in _devices()[:num]]
        self._strategy = tf.distribute.MirroredStrategy(self._devices)

    def copies(self, values: Any) -> Any:
        """Copy a nest of arrays of any shape to every device."""
        return tf.nest.map_structure(lambda x: self._place([x] * self.num), values)

    def shares(self, batch: Any) -> Any:
        """Distribute a nest of arrays `(n, ...)`: device r gets the samples `r::num`; scalars go to every device."""
        return tf.nest.map_structure(
            lambda x: self._place([x[r :: self.num] if np.ndim(x) else x for r in range(self.num)]), batch
        )

    def _place(self, values: list[Any]) -> Any:
        # `identity` copies each value to its device now, not when a step first reads it.
        tensors = []
        for device, value in zip(self._devices, values, strict=True):
            with tf.device(device):
                tensors.append(tf.identity(tf.convert_to_tensor(value)))
        return self._strategy.experimental_distribute_values_from_function(
            lambda context: tensors[context.replica_id_in_sync_group]
        )

    def mean(self, function: Function) -> Function:
        """Compile `function(*state, batch)` for the share of each device; its results are averaged over the devices."""
        # XLA cannot compile the all-reduce of a strategy, so it is done between compiled functions.
        compiled = jit(function)

        def mean_over_devices(*arguments: Any) -> Any:
            values = compiled(*arguments)
            means = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, tf.nest.flatten(values))
            return tf.nest.pack_sequence_as(values, means)

        return self._on_all(mean_over_devices)

    def each(self, function: Function) -> Function:
        """Compile a function, without convolutions, of values that are the same on every device."""
        return self._on_all(fuse(function))

    def _on_all(self, function: Function) -> Function:
        return tf.function(lambda *arguments: self._strategy.run(function, args=arguments), autograph=False)

    def first(self, values: Any) -> Any:
        """Return the tensors of one device, from a nest that is the same on all."""
        return tf.nest.map_structure(lambda x: self._strategy.experimental_local_results(x)[0], values)


def _devices() -> list[Any]:
    return tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")


def num_devices() -> int:
    """Number of devices that can compute in parallel."""
    return len(_devices())


def gpu_memory() -> int:
    """Peak of bytes in use on the first GPU so far; 0 without a GPU."""
    if not tf.config.list_logical_devices("GPU"):
        return 0
    return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])


def describe_devices() -> str:
    """Names of the devices that compute."""
    gpus = tf.config.list_physical_devices("GPU")
    names = [tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus]
    return ", ".join(names) if names else "CPU"
