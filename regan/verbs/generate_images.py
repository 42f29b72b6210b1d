"""Make synthetic images with a generator."""

import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

_THUMBNAILS = 16
_ENCODERS = 4
# First and last seed, ranges further on, part and number of parts.
_SEEDS = re.compile(r"\s*(\d+)\s*(?:-\s*(\d+)\s*(?:\+\s*(\d+)\s*)?(?::\s*(\d+)\s*/\s*(\d+)\s*)?)?")


@dataclass(frozen=True)
class GeneratedImages:
    """Result of `generate_images`.

    Attributes:
        path: The image set.
        num_images: Images in it.
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
    """Make synthetic images with a generator, one of each class asked for every seed.

    The same generator, seed and psi give the same image, however the seeds are cut into ranges.

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
        Where the images lie and how many there are.

    Raises:
        ValueError: `seeds` cannot be read, a number is out of range, or the generator does not know `label`.
        FileExistsError: `images` holds something already.
    """
    started = time.monotonic()
    numbers = parse_seeds(seeds)
    others = _mixing_seeds(mixing_seeds, mixing_cut, len(numbers))
    if not 0 <= truncation_psi <= 10:
        raise ValueError(f"`truncation_psi` must be between 0 and 10. Received truncation_psi={truncation_psi}.")

    import numpy as np

    from regan.artifacts.history import contact_sheet, write_step
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
    settings = {"seeds": seeds, "truncation_psi": truncation_psi, "label": label, "generator_hash": network.hash}
    settings |= _not_default(
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
                for seed, image, png in _encoded(stream, names):
                    writer.add(image, name, generator=network.hash, seed=str(seed), psi=f"{truncation_psi:g}", png=png)
                    progress.advance()
                    if len(sheets[name]) < _THUMBNAILS:
                        sheets[name].append(image)
        write_step(
            folder,
            "generate_images",
            {"generator": generator},
            settings=settings,
            counts={"num_images": total},
            figures={"images_per_second": total / (time.monotonic() - started)},
            thumbnails={name: contact_sheet(np.stack(sheet)) for name, sheet in sheets.items()},
            seconds=time.monotonic() - started,
        )
    return GeneratedImages(path=Path(images), num_images=total)


def parse_seeds(seeds: str) -> list[int]:
    """Seeds of `1-25000`, `1-10,20`, `1-100+2` or `1-100+2:1/4`, in the order given.

    `1-100+2` is the second range of that length after it, 201-300, and `1-100+2:1/4` the first of its four parts,
    201-225: a pipeline gives each class, round and shard its own seeds without having to count.

    Raises:
        ValueError: The text cannot be read, a range runs backwards, or a seed is named twice.
    """
    numbers: list[int] = []
    for text in seeds.split(","):
        match = _SEEDS.fullmatch(text)
        found = match.groups() if match else ("1", "0", None, None, None)
        first, last, ranges_on, part, parts = (
            int(group or default) for group, default in zip(found, (0, found[0], 0, 1, 1), strict=True)
        )
        if last < first or not 1 <= part <= parts <= last + 1 - first:
            raise ValueError(
                "`seeds` must be numbers and rising ranges, separated by commas, such as '1-25000', '1-10,20' or "
                f"'1-25000:2/4'. Received seeds={seeds!r}."
            )
        count = last + 1 - first
        start = first + ranges_on * count
        numbers.extend(range(start + count * (part - 1) // parts, start + count * part // parts))
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"`seeds` must name each seed once, or images would be doubled. Received seeds={seeds!r}.")
    return numbers


def _mixing_seeds(mixing_seeds: str, mixing_cut: int, num: int) -> list[int]:
    if bool(mixing_seeds) != bool(mixing_cut):
        raise ValueError(
            "`mixing_seeds` and `mixing_cut` must be given together. Received "
            f"mixing_seeds={mixing_seeds!r}, mixing_cut={mixing_cut}."
        )
    others = parse_seeds(mixing_seeds) if mixing_seeds else []
    if len(others) not in (0, 1, num):
        raise ValueError(
            f"`mixing_seeds` must name one seed, or as many as `seeds`, which are {num}. Received {len(others)}."
        )
    return others * num if len(others) == 1 else others


def _not_default(**settings: str | int) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value}


def _labels(known: Sequence[str], label: str) -> list[str]:
    if label != "all" and label not in known:
        raise ValueError(
            f"`label` must be 'all' or a class that the generator makes: {', '.join(known)}. Received label={label!r}."
        )
    return list(known) if label == "all" else [label]


def _encoded(
    batches: "Iterator[np.ndarray]", seeds: Sequence[int | str]
) -> "Iterator[tuple[int | str, np.ndarray, bytes]]":
    """Seed, image and its PNG; one batch is encoded while the next one is computed."""
    from regan.artifacts.pixels import encode_png

    remaining = iter(seeds)
    with ThreadPoolExecutor(_ENCODERS) as encoders:
        pending: list[tuple[np.ndarray, Future[bytes]]] = []
        for batch in batches:
            encoding = [(image, encoders.submit(encode_png, image)) for image in batch]
            yield from _finished(remaining, pending)
            pending = encoding
        yield from _finished(remaining, pending)


def _finished(
    seeds: Iterator[int | str], pending: "list[tuple[np.ndarray, Future[bytes]]]"
) -> "Iterator[tuple[int | str, np.ndarray, bytes]]":
    for image, encoding in pending:
        yield next(seeds), image, encoding.result()
