"""Pictures that show the same thing: exact copies, and near duplicates by perceptual hash.

Such pictures must lie on one side of a split, or the test asks what the training has answered. A false join costs a
little choice in the split; a missed one flatters the classifier. So the limits are set where joins begin to go wrong.
"""

from collections.abc import Iterator, Sequence

import imagehash
import numpy as np
from PIL import Image

# Bits that may differ, of 256 in each hash. Unrelated ultrasound images differ in 125 +- 9 and 127 +- 12 bits; those of
# one lesion, taken twice or marked afterwards, in a median of 22 and 19. Both limits must hold: the gradient hash alone
# is drawn together by black margins, the cosine hash alone by a common layout.
MAX_COSINE_BITS = 92
MAX_GRADIENT_BITS = 76

_SIDE = 16  # of the hash, so 16 * 16 bits
_BLACK = 16  # grey levels; compressed black is not all 0
_WORDS = _SIDE * _SIDE // 64
_PAIRS_AT_ONCE = 2_000_000  # 16 MB a word


def fingerprint(picture: Image.Image) -> np.ndarray:
    """Perceptual hashes of a picture: alike where pictures look alike, whatever their size and marks.

    Args:
        picture: Mode `L` or `RGB`, at its own size and proportions.

    Returns:
        uint64 `(8,)`: the 256 bits of the cosine-transform hash, then those of the gradient hash.

    References:
        Zauner, Implementation and benchmarking of perceptual image hash functions (2010).
    """
    grey = _without_margins(picture.convert("L"))
    hashes = (imagehash.phash(grey, hash_size=_SIDE), imagehash.dhash(grey, hash_size=_SIDE))
    return np.concatenate([np.packbits(found.hash.ravel()).view(np.uint64) for found in hashes])


def to_hex(seen: np.ndarray) -> str:
    """A fingerprint, uint64 `(8,)`, as 128 hex digits, the same on every machine."""
    return seen.tobytes().hex()


def from_hex(texts: Sequence[str]) -> np.ndarray:
    """Fingerprints that `to_hex` wrote, uint64 `(n, 8)`."""
    return np.frombuffer(bytes.fromhex("".join(texts)), np.uint64).reshape(len(texts), 2 * _WORDS)


def group_duplicates(pixel_hashes: Sequence[str], fingerprints: np.ndarray) -> np.ndarray:
    """Join exact copies and near duplicates, and what hangs together through them.

    Args:
        pixel_hashes: `pixel_hash` of each of n images.
        fingerprints: uint64 `(n, 8)`, a `fingerprint` each.

    Returns:
        int64 `(n,)`: for each image the smallest index in its group.
    """
    parents = np.arange(len(pixel_hashes))
    first: dict[str, int] = {}
    for index, digest in enumerate(pixel_hashes):
        _join(parents, first.setdefault(digest, index), index)
    for one, other in near_duplicates(fingerprints):
        _join(parents, one, other)
    return np.array([_root(parents, index) for index in range(len(parents))], np.int64)


def near_duplicates(fingerprints: np.ndarray) -> Iterator[tuple[int, int]]:
    """Pairs of indices `(i, j)`, i < j, whose fingerprints, uint64 `(n, 8)`, are within both limits."""
    n = len(fingerprints)
    words = np.ascontiguousarray(fingerprints.T)
    rows = max(1, _PAIRS_AT_ONCE // max(n, 1))
    for start in range(0, n, rows):
        one, other = _near(words[:, start : start + rows], words[:, start:])
        later = other > one
        yield from zip((one[later] + start).tolist(), (other[later] + start).tolist())


def near_duplicates_between(fingerprints: np.ndarray, others: np.ndarray) -> Iterator[tuple[int, int]]:
    """Pairs of indices `(i, j)` of near duplicates, `fingerprints[i]` and `others[j]`, uint64 `(n, 8)` and `(m, 8)`."""
    one_words, other_words = np.ascontiguousarray(fingerprints.T), np.ascontiguousarray(others.T)
    rows = max(1, _PAIRS_AT_ONCE // max(len(others), 1))
    for start in range(0, len(fingerprints), rows):
        one, other = _near(one_words[:, start : start + rows], other_words)
        yield from zip((one + start).tolist(), other.tolist())


def _near(words: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the pairs within both limits; `(8, n)` and `(8, m)`."""
    near = _differing_bits(words[_WORDS:, :, None], others[_WORDS:, None, :]) <= MAX_GRADIENT_BITS
    one, other = np.nonzero(near)
    within = _differing_bits(words[:_WORDS, one], others[:_WORDS, other]) <= MAX_COSINE_BITS
    return one[within], other[within]


def _without_margins(grey: Image.Image) -> Image.Image:
    """The part between black margins, which would make different pictures alike."""
    content = grey.point([0] * _BLACK + [255] * (256 - _BLACK)).getbbox()
    return grey.crop(content) if content else grey


def _differing_bits(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Hamming distance over the first axis, word by word to keep memory small."""
    total = np.zeros(np.broadcast_shapes(one.shape[1:], other.shape[1:]), np.uint16)
    for left, right in zip(one, other):
        total += np.bitwise_count(left ^ right)
    return total


def _join(parents: np.ndarray, one: int, other: int) -> None:
    first, second = sorted((_root(parents, one), _root(parents, other)))
    parents[second] = first


def _root(parents: np.ndarray, index: int) -> int:
    while parents[index] != index:
        parents[index] = parents[parents[index]]
        index = int(parents[index])
    return index
