"""Near duplicates: one picture saved twice, at another size or quality."""

from collections.abc import Sequence
from dataclasses import dataclass

import imagehash
import numpy as np
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

# Of 64 bits. A picture saved again at quality 50 or at half its size differs in 2 at most; of
# 215,000 pairs of different solar cells, which look much alike, 2 do.
MAX_BITS = 2
MAX_COLOUR = 8  # levels of 255
PLAIN = 2.0  # below this standard deviation the bits are noise: plain surfaces must have one colour
GRID = 4


@dataclass(frozen=True)
class Look:
    """An image from afar: imagehash's 64 bits, mean colours of a 4 × 4 division, how much
    these may differ in a copy."""

    bits: int
    colours: np.ndarray
    tolerance: int


def look_of(image: Image.Image) -> Look:
    """How an image looks, whatever its size and quality."""
    colours = np.asarray(image.convert("RGB").resize((GRID, GRID), Image.Resampling.BOX)).ravel()
    plain = np.asarray(image.convert("L")).std() < PLAIN
    return Look(int(str(imagehash.phash(image)), 16), colours, 0 if plain else MAX_COLOUR)


def look_alike(looks: Sequence[Look]) -> np.ndarray:
    """A group number for each image, int (N,), equal for those that look alike, in chains."""
    bits = np.array([look.bits for look in looks], dtype=np.uint64)
    colours = np.array([look.colours for look in looks], dtype=np.int16)
    rows, columns = [], []
    for row in range(len(looks) - 1):
        near = row + 1 + np.flatnonzero(np.bitwise_count(bits[row + 1 :] ^ bits[row]) <= MAX_BITS)
        apart = np.abs(colours[near] - colours[row]).max(axis=1, initial=0)
        near = near[apart <= looks[row].tolerance]
        rows += [row] * len(near)
        columns += near.tolist()
    pairs = coo_array((np.ones(len(rows)), (rows, columns)), shape=(len(looks),) * 2)
    return connected_components(pairs, directed=False)[1]
