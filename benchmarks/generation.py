"""Images per second of a generator with random weights, with the PNG that each is written as.

    python -m benchmarks.generation
    python -m benchmarks.generation --preset config-e --size 256 --num-images 64

`KERAS_BACKEND=jax` chooses JAX. The peer is stylegan2-ada-pytorch in float32 on 2 cores at batch 4, without PNG; ours
is scaled to the speed of those cores as in `benchmarks.training`.
"""

import argparse
import statistics

import numpy as np

from benchmarks.measure import TABLE_MATRIX_RATE, MatrixRate, describe_machine, seconds_of
from regan.gan.configuration import PRESETS, configure
from regan.gan.inputs import Stream, random_generator
from regan.gan.networks import GeneratorNetwork
from regan.gan.sampling import STYLE_MEAN, Generator
from regan.verbs.generate_images import _encoded

PEER = {"config-e": 1.66, "config-f": 0.69}
AIM = 1.9


def measure(preset: str, size: int, num_images: int, rate: MatrixRate, repeats: int) -> tuple[float, float]:
    """Images per second, the median of some runs, and the seconds until the first batch is there."""
    config = configure(preset, size=size, channels=3, labels=("all",))
    network = GeneratorNetwork.build(config, random_generator(0, Stream.WEIGHTS))
    weights = network.weights() | network.constants()
    generator = Generator(config, weights | {STYLE_MEAN: np.zeros(config.style_size, np.float32)})

    def made(num: int) -> list[np.float32]:
        seeds = range(num)
        return [np.float32(seed) for seed, _, _ in _encoded(generator.images(seeds, "all"), seeds)]

    first = seconds_of(lambda: made(generator.batch_size))
    times = [rate.seconds_of(lambda: made(num_images)) for _ in range(repeats)]
    return num_images * rate.median / statistics.median(times), first


def main() -> None:
    """Measure the presets that the command line asks for, and print a table."""
    options = _options()
    print(describe_machine())
    rate = MatrixRate()
    for preset in options.preset or PEER:
        speed, first = measure(preset, options.size, options.num_images, rate, options.repeats)
        print(f"{preset} at {options.size}: {speed:.3g} images/s with PNG, first batch after {first:.1f} s")
        if preset in PEER and options.size == 256:
            scaled = speed * TABLE_MATRIX_RATE / rate.median
            ratio = scaled / PEER[preset]
            here = rate.median / 1e9
            print(f"scaled to 133 GFLOP/s (here {here:.0f}): {scaled:.3g}, {ratio:.2f} x the peer (aim {AIM})")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--preset", choices=list(PRESETS), action="append", help="default: config-e and config-f")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--num-images", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3, help="runs, of which the median counts")
    return parser.parse_args()


if __name__ == "__main__":
    main()
