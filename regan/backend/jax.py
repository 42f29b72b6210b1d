"""Gradients, compilation and convolutions with JAX."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental.compilation_cache import compilation_cache
from jax.sharding import Mesh, NamedSharding, PartitionSpec

Function = Callable[..., Any]

_LAYOUT = ("NHWC", "HWIO", "NHWC")  # input, kernel, output: channels last, as with TensorFlow


def gradient(function: Function) -> Function:
    """Return the gradient of a scalar function by its only argument; it can be differentiated again."""
    return jax.grad(function)


def value_and_gradient(function: Function) -> Function:
    """Return values and gradient of `function(parameters, *rest) -> (loss, figures)` by its first argument.

    Returns:
        A function that returns `((loss, figures), gradients)`; the gradients have structure and shapes of `parameters`,
        and are zero for parameters that the loss does not depend on.
    """
    return jax.value_and_grad(function, has_aux=True)


def jit(function: Function) -> Function:
    """Compile a pure function of tensors, or nests of them, of fixed shapes, with XLA on its first call."""
    return jax.jit(function)


fuse = jit  # with JAX, XLA always compiles a whole function


def linear_operator(forward: Function, adjoint: Function) -> tuple[Function, Function]:
    """Make a linear operator and its adjoint, each with the other as its gradient.

    The pair is closed under differentiation of any order, so that gradients of gradients cost as much as the operators.

    Args:
        forward: Linear function of one tensor.
        adjoint: Its adjoint.
    """

    @jax.custom_vjp
    def apply(x: Any) -> Any:
        return forward(x)

    @jax.custom_vjp
    def apply_adjoint(y: Any) -> Any:
        return adjoint(y)

    # The forward rules call the operators, not the functions inside them, so that a second derivative finds the rule
    # again. `keras.ops.custom_gradient` has no such rule for the second order.
    apply.defvjp(lambda x: (apply(x), None), lambda _, upstream: (apply_adjoint(upstream),))
    apply_adjoint.defvjp(lambda y: (apply_adjoint(y), None), lambda _, upstream: (apply(upstream),))
    return apply, apply_adjoint


def leaky_relu(x: Any, slope: float) -> Any:
    """Leaky ReLU of a tensor of any shape; the gradient at 0 is `slope`, as with TensorFlow."""
    return jnp.where(x > 0, x, slope * x)


def convolve(x: Any, kernel: Any, stride: int = 1) -> Any:
    """Convolve `(n, h, w, c_in)` with `(k, k, c_in, c_out)`: same size at stride 1, no padding at stride 2."""
    if stride == 1:
        return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=_LAYOUT)
    return _strided_convolution(x, kernel)


def convolve_transposed(x: Any, kernel: Any) -> Any:
    """Transposed convolution of stride 2 of `(n, h, w, c_in)` and `(3, 3, c_in, c_out)`: `(n, 2h + 1, 2w + 1, c_out)`.

    Pixel `(i, j)` of `x` adds `kernel[a, b]` times itself to pixel `(2i + a, 2j + b)`.
    """
    return _transposed_convolution(x, kernel.transpose(0, 1, 3, 2))


# The strided convolution, its gradient by the input (the transposed convolution) and its gradient by the kernel are
# closed under differentiation. JAX's own rules turn second derivatives into dilated convolutions, which XLA computes
# several times slower (path-length step on a CPU: 19.7 instead of 5.5 s). All three have `kernel` as
# (3, 3, c_fine, c_coarse), where "fine" is the side with (2h + 1, 2w + 1) pixels.


@jax.custom_vjp
def _strided_convolution(fine: Any, kernel: Any) -> Any:
    return lax.conv_general_dilated(fine, kernel, (2, 2), "VALID", dimension_numbers=_LAYOUT)


@jax.custom_vjp
def _transposed_convolution(coarse: Any, kernel: Any) -> Any:
    return lax.conv_transpose(coarse, kernel, (2, 2), "VALID", dimension_numbers=_LAYOUT, transpose_kernel=True)


@jax.custom_vjp
def _kernel_gradient(fine: Any, coarse: Any) -> Any:
    # The gradient by the kernel is a convolution of input with output gradient that sums over the batch.
    batch_as_features = ("CHWN", "IHWO", "HWNC")
    return lax.conv_general_dilated(
        fine, coarse, (1, 1), "VALID", rhs_dilation=(2, 2), dimension_numbers=batch_as_features
    )


_strided_convolution.defvjp(
    lambda fine, kernel: (_strided_convolution(fine, kernel), (fine, kernel)),
    lambda saved, coarse: (_transposed_convolution(coarse, saved[1]), _kernel_gradient(saved[0], coarse)),
)
_transposed_convolution.defvjp(
    lambda coarse, kernel: (_transposed_convolution(coarse, kernel), (coarse, kernel)),
    lambda saved, fine: (_strided_convolution(fine, saved[1]), _kernel_gradient(fine, saved[0])),
)
_kernel_gradient.defvjp(
    lambda fine, coarse: (_kernel_gradient(fine, coarse), (fine, coarse)),
    lambda saved, kernel: (_transposed_convolution(saved[1], kernel), _strided_convolution(saved[0], kernel)),
)


def keep_compiled(folder: Path) -> None:
    """Cache compiled functions in a folder, for the next process; a corrupt entry is compiled again.

    The environment variable `JAX_COMPILATION_CACHE_DIR` takes precedence.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(folder))
        compilation_cache.reset_cache()


class Replicas:
    """Several devices, each with a copy of the state and its share of the batch.

    Args:
        num: Number of devices, the first of the visible ones.
    """

    def __init__(self, num: int) -> None:
        self.num = num
        self._mesh = Mesh(np.array(jax.devices()[:num]), ("replica",))

    def copies(self, values: Any) -> Any:
        """Copy a nest of arrays of any shape to every device."""
        return jax.device_put(values, NamedSharding(self._mesh, PartitionSpec()))

    def shares(self, batch: Any) -> Any:
        """Distribute a nest of arrays `(n, ...)`: device r gets the samples `r::num`; scalars go to every device."""
        return jax.tree.map(
            lambda x: jax.device_put(self._sort_by_replica(x), NamedSharding(self._mesh, _spec(x))), batch
        )

    def _sort_by_replica(self, x: Any) -> Any:
        # JAX gives each device a contiguous part, so the samples r::num are put side by side first.
        x = np.asarray(x)
        return np.concatenate([x[replica :: self.num] for replica in range(self.num)]) if x.ndim else x

    def mean(self, function: Function) -> Function:
        """Compile `function(*state, batch)` for the share of each device; its results are averaged over the devices."""

        def mean_over_devices(*arguments: Any) -> Any:
            return lax.pmean(function(*arguments), "replica")

        def on_all_devices(*arguments: Any) -> Any:
            specs = (*[PartitionSpec()] * (len(arguments) - 1), jax.tree.map(_spec, arguments[-1]))
            shared = jax.shard_map(
                mean_over_devices, mesh=self._mesh, in_specs=specs, out_specs=PartitionSpec(), check_vma=False
            )
            return shared(*arguments)

        return jax.jit(on_all_devices)

    def each(self, function: Function) -> Function:
        """Compile a function of values that are the same on every device."""
        return jax.jit(function)

    def first(self, values: Any) -> Any:
        """Return the tensors of one device, from a nest that is the same on all."""
        return values


def _spec(x: Any) -> PartitionSpec:
    # Arrays are split along their first axis; scalars are the same everywhere.
    return PartitionSpec("replica") if np.ndim(x) else PartitionSpec()


def num_devices() -> int:
    """Number of devices that can compute in parallel."""
    return len(jax.devices())


def gpu_memory() -> int:
    """Peak of bytes in use on the first GPU so far; 0 without a GPU."""
    statistics = jax.local_devices()[0].memory_stats() or {}
    return int(statistics.get("peak_bytes_in_use", 0))


def describe_devices() -> str:
    """Names of the devices that compute."""
    devices = jax.devices()
    return ", ".join(device.device_kind for device in devices) if devices[0].platform != "cpu" else "CPU"
