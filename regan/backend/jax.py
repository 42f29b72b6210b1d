"""Gradients, compilation and convolutions on JAX."""

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

_LAYOUT = ("NHWC", "HWIO", "NHWC")


def gradient(function: Function) -> Function:
    """Gradient of a scalar function by its only argument; may be differentiated again."""
    return jax.grad(function)


def value_and_gradient(function: Function) -> Function:
    """Values and gradient of `function(parameters, *rest) -> (loss, figures)` by its first argument.

    Returns:
        A function that gives `((loss, figures), gradients)`; the gradients have the structure of `parameters`, and are
        zero where the loss does not depend on one.
    """
    return jax.value_and_grad(function, has_aux=True)


def jit(function: Function) -> Function:
    """`function`, compiled by XLA on its first call; a pure function of tensors, or nests of them, of fixed shapes."""
    return jax.jit(function)


fused = jit  # XLA compiles all of a function here, with all that it calls


def linear_operator(forward: Function, adjoint: Function) -> tuple[Function, Function]:
    """A linear operator and its adjoint, each with the other as its gradient.

    The pair is closed under differentiation of any order, so that gradients of gradients cost what the operators cost.
    """

    @jax.custom_vjp
    def apply(x: Any) -> Any:
        return forward(x)

    @jax.custom_vjp
    def apply_adjoint(y: Any) -> Any:
        return adjoint(y)

    # The forward rules call the operators themselves, not what is inside them: a second derivative then meets the
    # rule again.
    apply.defvjp(lambda x: (apply(x), None), lambda _, upstream: (apply_adjoint(upstream),))
    apply_adjoint.defvjp(lambda y: (apply_adjoint(y), None), lambda _, upstream: (apply(upstream),))
    return apply, apply_adjoint


def leaky_relu(x: Any, slope: float) -> Any:
    """`x` where it is positive, else `slope` times it; the gradient at 0 is `slope`, as in the other framework."""
    return jnp.where(x > 0, x, slope * x)


def convolve(x: Any, kernel: Any, stride: int = 1) -> Any:
    """Convolution of `(n, h, w, c_in)` with `(k, k, c_in, c_out)`: same size at stride 1, no padding at stride 2."""
    if stride == 1:
        return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=_LAYOUT)
    return _strided(x, kernel)


def convolve_transposed(x: Any, kernel: Any) -> Any:
    """Transposed convolution of stride 2 of `(n, h, w, c_in)` and `(3, 3, c_in, c_out)`: `(n, 2h + 1, 2w + 1, c_out)`.

    Pixel `(i, j)` of `x` adds `kernel[a, b]` times itself to pixel `(2i + a, 2j + b)`.
    """
    return _transposed(x, kernel.transpose(0, 1, 3, 2))


# The strided convolution, its gradient by the input (the transposed convolution) and its gradient by the kernel are
# closed among themselves. JAX has rules of its own that answer second derivatives with dilated convolutions, which XLA
# computes several times slower. All three read `kernel` as (3, 3, c_fine, c_coarse), where fine is the side of
# (2h + 1, 2w + 1) pixels.


@jax.custom_vjp
def _strided(fine: Any, kernel: Any) -> Any:
    return lax.conv_general_dilated(fine, kernel, (2, 2), "VALID", dimension_numbers=_LAYOUT)


@jax.custom_vjp
def _transposed(coarse: Any, kernel: Any) -> Any:
    return lax.conv_transpose(coarse, kernel, (2, 2), "VALID", dimension_numbers=_LAYOUT, transpose_kernel=True)


@jax.custom_vjp
def _kernel_gradient(fine: Any, coarse: Any) -> Any:
    batch_as_features = ("CHWN", "IHWO", "HWNC")
    return lax.conv_general_dilated(
        fine, coarse, (1, 1), "VALID", rhs_dilation=(2, 2), dimension_numbers=batch_as_features
    )


_strided.defvjp(
    lambda fine, kernel: (_strided(fine, kernel), (fine, kernel)),
    lambda saved, coarse: (_transposed(coarse, saved[1]), _kernel_gradient(saved[0], coarse)),
)
_transposed.defvjp(
    lambda coarse, kernel: (_transposed(coarse, kernel), (coarse, kernel)),
    lambda saved, fine: (_strided(fine, saved[1]), _kernel_gradient(fine, saved[0])),
)
_kernel_gradient.defvjp(
    lambda fine, coarse: (_kernel_gradient(fine, coarse), (fine, coarse)),
    lambda saved, kernel: (_transposed(saved[1], kernel), _strided(saved[0], kernel)),
)


def keep_compiled(folder: Path) -> None:
    """Keep compiled functions in a folder, for the next process; a broken entry is compiled again.

    `JAX_COMPILATION_CACHE_DIR` in the environment takes precedence.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(folder))
        compilation_cache.reset_cache()


class Replicas:
    """Several devices, each with a copy of the state and its share of the batch.

    Args:
        num: How many of the visible ones.
    """

    def __init__(self, num: int) -> None:
        self.num = num
        self._mesh = Mesh(np.array(jax.devices()[:num]), ("replica",))

    def copies(self, values: Any) -> Any:
        """A nest of tensors, the same on every device."""
        return jax.device_put(values, NamedSharding(self._mesh, PartitionSpec()))

    def shares(self, batch: Any) -> Any:
        """A nest of arrays `(n, ...)`, of which device r holds the samples `r::num`; what has no axes goes to all."""
        return jax.tree.map(lambda x: jax.device_put(self._sorted(x), NamedSharding(self._mesh, _spec(x))), batch)

    def _sorted(self, x: Any) -> Any:
        x = np.asarray(x)
        return np.concatenate([x[replica :: self.num] for replica in range(self.num)]) if x.ndim else x

    def mean(self, function: Function) -> Function:
        """`function(*state, batch)` of each device's share, compiled; its results are averaged over the devices."""

        def averaged(*arguments: Any) -> Any:
            return lax.pmean(function(*arguments), "replica")

        def mapped(*arguments: Any) -> Any:
            specs = (*[PartitionSpec()] * (len(arguments) - 1), jax.tree.map(_spec, arguments[-1]))
            shared = jax.shard_map(
                averaged, mesh=self._mesh, in_specs=specs, out_specs=PartitionSpec(), check_vma=False
            )
            return shared(*arguments)

        return jax.jit(mapped)

    def each(self, function: Function) -> Function:
        """`function` of values that are the same on every device, compiled."""
        return jax.jit(function)

    def first(self, values: Any) -> Any:
        """The tensors of one device, of a nest that is the same on all."""
        return values


def _spec(x: Any) -> PartitionSpec:
    return PartitionSpec("replica") if np.ndim(x) else PartitionSpec()


def num_devices() -> int:
    """Devices that can compute side by side."""
    return len(jax.devices())


def gpu_memory() -> int:
    """Bytes used on the first GPU at the most so far; 0 without one."""
    statistics = jax.local_devices()[0].memory_stats() or {}
    return int(statistics.get("peak_bytes_in_use", 0))


def describe_devices() -> str:
    """The devices that compute, in words."""
    devices = jax.devices()
    return ", ".join(device.device_kind for device in devices) if devices[0].platform != "cpu" else "CPU"
