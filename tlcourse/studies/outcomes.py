"""Outcomes: which test images an arm named rightly, and what each shows, for crossed intervals."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np


class Outcomes(NamedTuple):
    """For each test image 1 where it was named rightly, else 0, and what it shows; both (T,)."""

    right: np.ndarray
    groups: np.ndarray


def packed(right: np.ndarray, groups: np.ndarray) -> str:
    """A cell's text for the outcomes of one test: bits, then groups below 65,536, as hexadecimal.

    Examples
    --------
    >>> packed(np.array([True, False, True]), np.array([7, 7, 300]))
    'a0:070007002c01'
    """
    if not 0 <= groups.min() <= groups.max() < 1 << 16:
        raise ValueError(f"groups run from {groups.min()} to {groups.max()}, not 0 to 65,535")
    return f"{np.packbits(right).tobytes().hex()}:{groups.astype('<u2').tobytes().hex()}"


def unpacked(text: str) -> Outcomes:
    """The outcomes that ``packed`` wrote.

    Examples
    --------
    >>> unpacked("a0:070007002c01")
    Outcomes(right=array([1, 0, 1], dtype=uint8), groups=array([  7,   7, 300], dtype=uint16))
    """
    bits, names = (bytes.fromhex(part) for part in text.split(":"))
    groups = np.frombuffer(names, dtype="<u2")
    right = np.unpackbits(np.frombuffer(bits, dtype=np.uint8), count=len(groups))
    return Outcomes(right, groups)


def outcomes_of(kept: Any, measure: str) -> Outcomes | None:
    """The outcomes of one measure, of what a cell keeps as ``outcomes``; None where it does not.

    Examples
    --------
    >>> outcomes_of({"plain": "80:00000100"}, "plain").groups.tolist()
    [0, 1]
    """
    return unpacked(kept[measure]) if isinstance(kept, Mapping) and measure in kept else None
