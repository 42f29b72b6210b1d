"""Pictures with the same content: exact copies, and near duplicates by perceptual hash.

Such pictures must be in one set of a split, or the test set leaks into training. A false match costs a little freedom
in the split; a missed match flatters the classifier. So the limits are as wide as false matches allow.
"""

from collections.abc import Iterator, Sequence

import imagehash
import numpy as np
from PIL import Image

# Bits that may differ, of 256 in each hash. Unrelated ultrasound images differ in 125 +- 9 and 127 +- 12 bits; those of
# one lesion, taken twice or annotated later, in a median of 22 and 19. Both limits must hold: the gradient hash alone
# matches pictures with similar black margins, the cosine hash alone pictures with a similar layout.
MAX_COSINE_BITS = 92
MAX_GRADIENT_BITS = 76

_SIDE = 16  # of the hash: 16 * 16 bits
_BLACK = 16  # grey levels; after JPEG compression black is not exactly 0
_WORDS = _SIDE * _SIDE // 64
_PAIRS_AT_ONCE = 2_000_000  # 16 MB for one 64-bit word of each pair


def perceptual_hash(picture: Image.Image) -> np.ndarray:
    """Perceptual hashes of a picture: similar for pictures that look similar, at any size and with small annotations.

    Args:
        picture: Picture of mode `L` or `RGB`, at its original size and aspect ratio.

    Returns:
        uint64 `(8,)`: the 256 bits of the cosine-transform hash, then those of the gradient hash.

    References:
        Zauner, Implementation and benchmarking of perceptual image hash functions (2010).
    """
    grey = _crop_margins(picture.convert("L"))
    parts = (imagehash.phash(grey, hash_size=_SIDE), imagehash.dhash(grey, hash_size=_SIDE))
    return np.concatenate([np.packbits(part.hash.ravel()).view(np.uint64) for part in parts])


def to_hex(hashes: np.ndarray) -> str:
    """Perceptual hashes of one picture, uint64 `(8,)`, as 128 hexadecimal digits."""
    return hashes.tobytes().hex()


def from_hex(texts: Sequence[str]) -> np.ndarray:
    """Perceptual hashes of n pictures, uint64 `(n, 8)`, from the texts that `to_hex` made."""
    return np.frombuffer(bytes.fromhex("".join(texts)), np.uint64).reshape(len(texts), 2 * _WORDS)


def group_duplicates(pixel_hashes: Sequence[str], hashes: np.ndarray) -> np.ndarray:
    """Group exact copies and near duplicates, and pictures that are connected through others.

    Args:
        pixel_hashes: `pixel_hash` of each of n images.
        hashes: `perceptual_hash` of each image, uint64 `(n, 8)`.

    Returns:
        int64 `(n,)`: for each image the smallest index in its group.
    """
    # Union-find: each image points to another one of its group, and the smallest index to itself.
    parents = np.arange(len(pixel_hashes))
    first: dict[str, int] = {}
    for index, digest in enumerate(pixel_hashes):
        _join(parents, first.setdefault(digest, index), index)
    for one, other in near_duplicates(hashes):
        _join(parents, one, other)
    return np.array([_root(parents, index) for index in range(len(parents))], np.int64)


def near_duplicates(hashes: np.ndarray) -> Iterator[tuple[int, int]]:
    """Pairs of indices `(i, j)`, i < j, of near duplicates; `hashes` is uint64 `(n, 8)`."""
    n = len(hashes)
    words = np.ascontiguousarray(hashes.T)
    rows = max(1, _PAIRS_AT_ONCE // max(n, 1))
    for start in range(0, n, rows):
        one, other = _near(words[:, start : start + rows], words[:, start:])
        later = other > one
        yield from zip((one[later] + start).tolist(), (other[later] + start).tolist())


def near_duplicates_between(hashes: np.ndarray, others: np.ndarray) -> Iterator[tuple[int, int]]:
    """Pairs of indices `(i, j)` of near duplicates, `hashes[i]` and `others[j]`: uint64 `(n, 8)`, `(m, 8)`."""
    one_words, other_words = np.ascontiguousarray(hashes.T), np.ascontiguousarray(others.T)
    rows = max(1, _PAIRS_AT_ONCE // max(len(others), 1))
    for start in range(0, len(hashes), rows):
        one, other = _near(one_words[:, start : start + rows], other_words)
        yield from zip((one + start).tolist(), other.tolist())


def _near(words: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the pairs within both limits, int64 `(k,)` each; the hashes are uint64 `(8, n)` and `(8, m)`."""
    # The gradient hash first, for all pairs: it excludes more of them. The other one for the few that remain.
    near = _hamming_distance(words[_WORDS:, :, None], others[_WORDS:, None, :]) <= MAX_GRADIENT_BITS
    one, other = np.nonzero(near)
    within = _hamming_distance(words[:_WORDS, one], others[:_WORDS, other]) <= MAX_COSINE_BITS
    return one[within], other[within]


def _crop_margins(grey: Image.Image) -> Image.Image:
    """The part between black margins, which would make the hashes of different pictures similar."""
    content = grey.point([0] * _BLACK + [255] * (256 - _BLACK)).getbbox()
    return grey.crop(content) if content else grey


def _hamming_distance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Number of differing bits over the first axis, uint16; word by word, to keep memory small."""
    total = np.zeros(np.broadcast_shapes(one.shape[1:], other.shape[1:]), np.uint16)
    for left, right in zip(one, other):
        total += np.bitwise_count(left ^ right)
    return total


def _join(parents: np.ndarray, one: int, other: int) -> None:
    first, second = sorted((_root(parents, one), _root(parents, other)))
    parents[second] = first


def _root(parents: np.ndarray, index: int) -> int:
    while parents[index] != index:
        parents[index] = parents[parents[index]]  # path halving keeps later searches short
        index = int(parents[index])
    return index
