"""Generate images with a trained generator, and manage the snapshots of a run."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from regan import backend
from regan.artifacts.model import read_model, read_weights, weights_hash
from regan.artifacts.output_folder import atomic_folder
from regan.common.errors import CorruptFileError, SettingError
from regan.gan.configuration import NOISES, GanConfig, Noise
from regan.gan.generator_folder import STYLE_MEAN, write_generator
from regan.gan.inputs import Stream, draw_noise, random_generator
from regan.gan.networks import GeneratorNetwork

SNAPSHOTS = "snapshots"


class Mixing(NamedTuple):
    """Style mixing: the fine styles of each image come from another seed.

    Attributes:
        seeds: The other seed of each image, in the order of the images.
        cut: Number of coarse styles that come from the image's own seed.
    """

    seeds: Iterable[int]
    cut: int


class Generator:
    """A trained generator. Load one with `Generator.load`.

    Args:
        config: Its configuration.
        weights: Averaged weights, constant noise and `style_mean` by path, float32.
        hash: SHA-256 of its weight file.
        kimg: Thousands of real images that trained it.
        classes: The two classes of the image set that trained it, the positive one last.
    """

    def __init__(
        self,
        config: GanConfig,
        weights: dict[str, Any],
        *,
        hash: str = "",
        kimg: float = 0.0,
        classes: tuple[str, ...] = (),
    ) -> None:
        self.config, self.hash, self.kimg, self.classes = config, hash, kimg, classes
        self._weights = {path: ops.convert_to_tensor(value) for path, value in weights.items()}
        self._network, self._synthesise, self._synthesise_mixed = _compile(config)
        _require_same_paths(set(self._network.weights()) | set(self._network.constants()) | {STYLE_MEAN}, set(weights))

    @classmethod
    def load(cls, folder: str | Path) -> "Generator":
        """Load a generator, or one snapshot of a run.

        Raises:
            FileNotFoundError: The folder contains no model.
            ValueError: The folder contains another kind of model, or weights that do not match its configuration.
        """
        model = read_model(folder, "generator")
        config = GanConfig.from_dict(model["configuration"])
        return cls(
            config,
            read_weights(folder),
            hash=weights_hash(folder),
            kimg=model["kimg"],
            classes=tuple(model["classes"]),
        )

    @property
    def size(self) -> int:
        """Height and width of its images, pixels."""
        return self.config.size

    @property
    def channels(self) -> int:
        """1 (grey) or 3 (RGB)."""
        return self.config.channels

    @property
    def labels(self) -> tuple[str, ...]:
        """Classes of its images."""
        return self.config.labels

    @property
    def conditional(self) -> bool:
        """Whether it generates both classes."""
        return bool(self.config.num_labels)

    @property
    def batch_size(self) -> int:
        """Images per batch. Depends on the size only, because another batch shape changes the last bits of images."""
        # 2^20 pixels a batch: 64 images up to 128 x 128, 16 of 256 x 256.
        return max(4, min(64, 2**20 // self.size**2))

    def images(
        self,
        seeds: Iterable[int],
        label: str,
        truncation_psi: float = 1.0,
        *,
        truncation_cutoff: int | None = None,
        noise: Noise = "random",
        mixing: Mixing | None = None,
    ) -> Iterator[np.ndarray]:
        """Generate the images of some seeds, in order. A seed always gives the same bytes, in any batch.

        Args:
            seeds: Latent seeds, 0 or more.
            label: Class of the images, one of `labels`.
            truncation_psi: Truncation: the distance of styles from their mean is multiplied by this. 0 gives the mean
                image, 1 is what the generator was trained for, more than 1 gives unusual images.
            truncation_cutoff: Number of coarse styles that are truncated; None = all.
            noise: `random`, drawn from each seed; `constant`, the same for all; or `none`.
            mixing: Source of the fine styles; None = the same seed.

        Yields:
            uint8 `(b, size, size, channels)`, 0-255; b is `batch_size`, but smaller for the last batch.

        Raises:
            SettingError: The generator has no such class, `noise` is unknown, or a number of styles is out of range.

        References:
            Karras et al. 2019, section 3.1 (style mixing) and appendix B (truncation in w).
            https://arxiv.org/abs/1812.04948
        """
        label_number = self._label_number(label)
        if noise not in NOISES:
            raise SettingError(f"`noise` must be 'random', 'constant' or 'none'. Received noise={noise!r}.")
        self._require_styles("truncation_cutoff", 0, truncation_cutoff)
        self._require_styles("mixing.cut", 1, mixing.cut if mixing else None)
        psi = np.full((1, self.config.num_styles, 1), truncation_psi, np.float32)
        psi[:, truncation_cutoff if truncation_cutoff is not None else self.config.num_styles :] = 1
        return self._stream(seeds, label_number, psi, noise, mixing)

    def _stream(
        self, seeds: Iterable[int], label_number: int, psi: np.ndarray, noise: Noise, mixing: Mixing | None
    ) -> Iterator[np.ndarray]:
        # One batch is computed while the next one is drawn.
        with ThreadPoolExecutor(1) as drawer:
            pending = None
            remaining, others = iter(seeds), iter(mixing.seeds if mixing else ())
            while part := tuple(islice(remaining, self.batch_size)):
                drawn = drawer.submit(self._draw, part, noise)
                mixed = (self._latents(_take_mixing_seeds(others, part)), np.int32(mixing.cut)) if mixing else None
                if pending is not None:
                    yield self._compute(*pending, label_number, psi)
                pending = (drawn, mixed, len(part))
            if pending is not None:
                yield self._compute(*pending, label_number, psi)

    def _compute(self, drawn: Any, mixed: Any, num: int, label_number: int, psi: np.ndarray) -> np.ndarray:
        latents, noise = drawn.result()
        labels = np.zeros((self.batch_size, self.config.num_labels), np.float32)
        labels[:, label_number : label_number + 1] = 1
        psi = ops.convert_to_tensor(psi)
        if mixed is None:
            images = self._synthesise(self._weights, latents, labels, psi, noise)
        else:
            mixed = [ops.convert_to_tensor(value) for value in mixed]
            images = self._synthesise_mixed(self._weights, latents, labels, psi, noise, *mixed)
        return np.asarray(ops.convert_to_numpy(images))[:num]

    def _latents(self, seeds: tuple[int, ...]) -> np.ndarray:
        # The last batch is padded with seed 0 to the one compiled shape.
        size = self.config.latent_size
        padded = (*seeds, *[0] * (self.batch_size - len(seeds)))
        return np.stack([random_generator(seed, Stream.SAMPLES).standard_normal(size, np.float32) for seed in padded])

    def _draw(self, seeds: tuple[int, ...], kind: Noise) -> tuple[Any, list[Any]]:
        config = self.config
        padded = (*seeds, *[0] * (self.batch_size - len(seeds)))
        latents = np.empty((self.batch_size, config.latent_size), np.float32)
        noises = [np.zeros((self.batch_size, size, size, 1), np.float32) for size in config.noise_sizes]
        for place, seed in enumerate(padded):
            random = random_generator(seed, Stream.SAMPLES)
            latents[place] = random.standard_normal(config.latent_size, np.float32)
            if kind == "random":
                for target, drawn in zip(noises, draw_noise(config, random, 1), strict=True):
                    target[place] = drawn[0]
        if kind == "constant":
            for target, path in zip(noises, self._network.constants(), strict=True):
                target[:] = ops.convert_to_numpy(self._weights[path])
        return ops.convert_to_tensor(latents), [ops.convert_to_tensor(value) for value in noises]

    def _require_styles(self, name: str, least: int, num: int | None) -> None:
        if num is not None and not least <= num <= self.config.num_styles - least:
            raise SettingError(
                f"`{name}` must be {least} to {self.config.num_styles - least}, because an image of {self.size} x "
                f"{self.size} takes {self.config.num_styles} styles. Received {name}={num}."
            )

    def _label_number(self, label: str) -> int:
        if label not in self.labels:
            raise SettingError(
                f"`label` must be a class of the generator: {', '.join(self.labels)}. Received label={label!r}."
            )
        return self.labels.index(label)


@cache
def _compile(config: GanConfig) -> tuple[GeneratorNetwork, Callable[..., Any], Callable[..., Any]]:
    """Compile the network's functions without and with mixing, once for all snapshots of a run."""
    # In float32 even after training in bfloat16: images are generated once and used many times.
    network = GeneratorNetwork.build(replace(config, precision="float32"), random_generator(0, Stream.WEIGHTS))

    def synthesise(weights: Any, latents: Any, labels: Any, psi: Any, noise: Any) -> Any:
        return to_pixels(weights, network.styles(weights, latents, labels)[:, None], psi, noise)

    def synthesise_mixed(weights: Any, latents: Any, labels: Any, psi: Any, noise: Any, others: Any, cut: Any) -> Any:
        own, other = (network.styles(weights, z, labels)[:, None] for z in (latents, others))
        is_own = ops.arange(config.num_styles, dtype="int32")[None, :, None] < cut
        return to_pixels(weights, ops.where(is_own, own, other), psi, noise)

    def to_pixels(weights: Any, styles: Any, psi: Any, noise: Any) -> Any:
        styles = weights[STYLE_MEAN] + psi * (styles - weights[STYLE_MEAN])
        images = network.images(weights, styles, noise)
        # -1 to 1 becomes 0-255: the floor of x * 127.5 + 128 rounds x * 127.5 + 127.5 to the nearest level.
        return ops.cast(ops.floor(ops.clip(images * 127.5 + 128, 0, 255)), "uint8")

    return network, backend.jit(synthesise), backend.jit(synthesise_mixed)


def _require_same_paths(expected: set[str], received: set[str]) -> None:
    if expected != received:
        differing = sorted(expected ^ received)
        raise CorruptFileError(
            f"The weights do not match the configuration: {', '.join(differing[:3])} and "
            f"{max(len(differing) - 3, 0)} more are in one of the two only. Train or import the generator again."
        )


def _take_mixing_seeds(seeds: Iterator[int], part: Sequence[int]) -> tuple[int, ...]:
    taken = tuple(islice(seeds, len(part)))
    if len(taken) < len(part):
        raise SettingError("There are fewer mixing seeds than seeds. Give one mixing seed for each image.")
    return taken


def write_snapshot(
    run: Path,
    kimg: float,
    config: GanConfig,
    weights: dict[str, np.ndarray],
    *,
    classes: tuple[str, ...],
    training_index: Iterable[tuple[str, str]],
    origin: Mapping[str, str] = MappingProxyType({}),
) -> Path:
    """Write the averaged generator as `snapshots/kimg-NNNNNN.N` of a run.

    Args:
        run: Folder of the run.
        kimg: Thousands of real images so far.
        config: Configuration of the run.
        weights: Averaged weights, constant noise and `style_mean` by path, float32 `(k, k, maps, filters)` for kernels.
        classes: The two classes of the image set, the positive one last.
        training_index: (pixel hash, group) of the images that trained it.
        origin: Initial weights that training started from, and their licence.

    Returns:
        Folder of the snapshot.
    """
    # Rounded down, so that a run that resumes at this point does not remove it as later than its checkpoint.
    path = run / SNAPSHOTS / f"kimg-{round(kimg * 1000) // 100 / 10:08.1f}"
    for left in path.parent.glob(f".{path.name}.*"):  # left behind by a process that was killed while writing it
        shutil.rmtree(left)
    with atomic_folder(path) as folder:
        write_generator(folder, kimg, config, weights, classes=classes, training_index=training_index, origin=origin)
    return path


def snapshots(run: str | Path) -> list[Path]:
    """Return the snapshot folders of a run, oldest first."""
    # Names have a fixed width, so their order is that of their numbers.
    return sorted((Path(run) / SNAPSHOTS).glob("kimg-*"))


def snapshot_kimg(path: Path) -> float:
    """Read the thousands of images of a snapshot from the name of its folder."""
    return float(path.name.removeprefix("kimg-"))


def surplus_snapshots(kimgs: list[float], keep: int) -> list[float]:
    """Choose the snapshots to remove so that `keep` remain: thinned evenly, except the newest fifth, which stay dense.

    The best snapshot of a run that overfits is an early one, that of a run that still learns a late one.

    Args:
        kimgs: Thousands of images of every snapshot, ascending.
        keep: Largest number of snapshots to keep, at least 2.

    Returns:
        Thousands of images of the snapshots to remove.
    """
    kept, removed = list(kimgs), []
    while len(kept) > keep:
        last_old = max(2, len(kept) - max(1, keep // 5))
        # The one whose removal leaves the smallest gap, never the first; the earlier one of equal gaps, so that the
        # choice is deterministic.
        gaps = {kept[i]: kept[i + 1] - kept[i - 1] for i in range(1, last_old)}
        surplus = min(gaps, key=lambda kimg: (gaps[kimg], kimg))
        kept.remove(surplus)
        removed.append(surplus)
    return removed
