"""Generate synthetic images."""

import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from regan.common.cpus import available_cpus
from regan.common.errors import SettingError

if TYPE_CHECKING:
    import numpy as np

_THUMBNAILS = 16
# First and last seed, ranges further on, part and number of parts.
_SEEDS = re.compile(r"\s*(\d+)\s*(?:-\s*(\d+)\s*(?:\+\s*(\d+)\s*)?(?::\s*(\d+)\s*/\s*(\d+)\s*)?)?")


@dataclass(frozen=True)
class GeneratedImages:
    """Result of `generate_images`.

    Attributes:
        path: The image set.
        num_images: Number of images in it.
    """

    path: Path
    num_images: int


def generate_images(
    generator: str | Path,
    images: str | Path,
    *,
    label: str = "all",
    seeds: str = "1-25000",
    truncation_psi: float = 1.6,
    truncation_cutoff: int = 0,
    noise: Literal["random", "constant", "none"] = "random",
    mixing_seeds: str = "",
    mixing_cut: int = 0,
) -> GeneratedImages:
    """Generate synthetic images, for every seed one of each class.

    The same generator, seed and psi give the same image, however the seeds are split into ranges.

    Args:
        generator: Generator, or one snapshot of a run.
        images: Image set to write.
        label: Class to generate; "all" = every class of the generator.
        seeds: Latent seeds, first and last, such as "1-25000"; in the pipeline, each further class and round takes the
            next range of that length. Several ranges and numbers are separated by commas, "1-10,20"; "1-100+2" is the
            second range of that length after 1-100, and "1-100:2/4" the second of its four parts.
        truncation_psi: Truncation psi, the spread of the styles: 0 = the average image, 1 = as trained, above 1 = more
            varied.
        truncation_cutoff: Number of coarse styles that psi truncates; 0 = all.
        noise: Noise inputs: "random" = drawn from each seed, "constant" = the same for all images, or "none".
            "constant" is the noise of training.
        mixing_seeds: Seeds of the fine styles, one for all images or as many as `seeds`; empty = no style mixing.
        mixing_cut: Number of coarse styles that style mixing takes from `seeds`; 0 = no style mixing.

    Returns:
        The image set and its number of images.

    Raises:
        SettingError: `seeds` cannot be parsed, a number is out of range, or the generator does not have class `label`.
        OutputExistsError: `images` is not empty.
    """
    started = time.monotonic()
    numbers = parse_seeds(seeds)
    others = _mixing_seeds(mixing_seeds, mixing_cut, len(numbers))
    if not 0 <= truncation_psi <= 10:
        raise SettingError(f"truncation_psi={truncation_psi} is out of range: use 0 to 10.")

    import numpy as np

    from regan.artifacts.entries import GenerateImagesEntry
    from regan.artifacts.entry import write_entry
    from regan.artifacts.history import contact_sheet
    from regan.artifacts.image_set import ImageSetWriter
    from regan.artifacts.model import read_model, read_training_index
    from regan.artifacts.output_folder import atomic_folder, require_empty_output
    from regan.common.progress import Progress

    require_empty_output(Path(images))
    labels = _labels(read_model(generator, "generator")["labels"], label)

    from regan.gan.sampling import Generator, Mixing

    network = Generator.load(generator)
    mixing = Mixing(others, mixing_cut) if others else None
    how: dict[str, Any] = {"truncation_cutoff": truncation_cutoff or None, "noise": noise, "mixing": mixing}
    total = len(numbers) * len(labels)
    settings: dict[str, Any] = {"seeds": seeds, "truncation_psi": truncation_psi, "label": label}
    settings |= {"generator_hash": network.hash} | _without_defaults(
        truncation_cutoff=truncation_cutoff,
        noise="" if noise == "random" else noise,
        mixing_seeds=mixing_seeds,
        mixing_cut=mixing_cut,
    )
    streams = {name: network.images(numbers, name, truncation_psi, **how) for name in labels}
    names = [f"{seed}~{other}" for seed, other in zip(numbers, others, strict=True)] if others else numbers
    sheets: dict[str, list[np.ndarray]] = {name: [] for name in labels}
    with atomic_folder(images) as folder:
        with (
            ImageSetWriter(
                folder,
                size=network.size,
                channels=network.channels,
                classes=network.classes,
                origin="synthetic",
                settings=settings,
                training_index=read_training_index(generator),
                shard_images=max(1000, -(-total // ImageSetWriter.MAX_SHARDS)),
            ) as writer,
            Progress("Generate images", total) as progress,
        ):
            for name, stream in streams.items():
                for seed, image, png in _encode(stream, names):
                    writer.add(image, name, generator=network.hash, seed=str(seed), psi=f"{truncation_psi:g}", png=png)
                    progress.advance()
                    if len(sheets[name]) < _THUMBNAILS:
                        sheets[name].append(image)
        seconds = time.monotonic() - started
        write_entry(
            folder,
            GenerateImagesEntry(**settings, num_images=total, images_per_second=total / seconds),
            {"generator": generator},
            thumbnails={name: contact_sheet(np.stack(sheet)) for name, sheet in sheets.items()},
            seconds=seconds,
        )
    return GeneratedImages(path=Path(images), num_images=total)


def parse_seeds(seeds: str) -> list[int]:
    """Parse seeds such as `1-25000`, `1-10,20`, `1-100+2` or `1-100+2:1/4`; their order is kept.

    `1-100+2` is the second range of the same length after 1-100, which is 201-300, and `1-100+2:1/4` is the first of
    its four parts, 201-225. With these, a pipeline gives each class, round and shard its own seeds without counting.

    Raises:
        SettingError: The text cannot be parsed, a range is descending, or a seed is repeated.
    """
    numbers: list[int] = []
    for text in seeds.split(","):
        match = _SEEDS.fullmatch(text)
        found = match.groups() if match else ("1", "0", None, None, None)
        first, last, ranges_on, part, parts = (
            int(group or default) for group, default in zip(found, (0, found[0], 0, 1, 1), strict=True)
        )
        if last < first or not 1 <= part <= parts <= last + 1 - first:
            raise SettingError(
                f"seeds={seeds!r} cannot be parsed: use numbers and ascending ranges separated by commas, such as "
                "'1-25000', '1-10,20' or '1-25000:2/4'."
            )
        count = last + 1 - first
        # Whole ranges further on: two ranges of the same length never share a seed.
        start = first + ranges_on * count
        numbers.extend(range(start + count * (part - 1) // parts, start + count * part // parts))
    if len(set(numbers)) < len(numbers):
        raise SettingError(f"seeds={seeds!r} repeats a seed, which would duplicate images. Give each seed once.")
    return numbers


def _mixing_seeds(mixing_seeds: str, mixing_cut: int, num: int) -> list[int]:
    if bool(mixing_seeds) != bool(mixing_cut):
        raise SettingError(
            f"mixing_seeds={mixing_seeds!r} and mixing_cut={mixing_cut} contradict each other: set both or neither."
        )
    others = parse_seeds(mixing_seeds) if mixing_seeds else []
    if len(others) not in (0, 1, num):
        raise SettingError(f"mixing_seeds has {len(others)} seeds: use one, or {num} as in `seeds`.")
    return others * num if len(others) == 1 else others


def _without_defaults(**settings: str | int) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value}


def _labels(known: Sequence[str], label: str) -> list[str]:
    if label != "all" and label not in known:
        raise SettingError(f"Unknown label={label!r}: use 'all' or a class of the generator: {', '.join(known)}.")
    return list(known) if label == "all" else [label]


def _encode(
    batches: "Iterator[np.ndarray]", seeds: Sequence[int | str]
) -> "Iterator[tuple[int | str, np.ndarray, bytes]]":
    """Seed, image and PNG of each image; one batch is encoded while the next one is computed."""
    from regan.artifacts.pixels import encode_png

    remaining = iter(seeds)
    with ThreadPoolExecutor(available_cpus()) as encoders:
        pending: list[tuple[np.ndarray, Future[bytes]]] = []
        for batch in batches:
            encoding = [(image, encoders.submit(encode_png, image)) for image in batch]
            yield from _results(remaining, pending)
            pending = encoding
        yield from _results(remaining, pending)


def _results(
    seeds: Iterator[int | str], pending: "list[tuple[np.ndarray, Future[bytes]]]"
) -> "Iterator[tuple[int | str, np.ndarray, bytes]]":
    for image, encoding in pending:
        yield next(seeds), image, encoding.result()
