"""What a reader may have meant by a name that is not there."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

Entry = TypeVar("Entry")


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """``; did you mean a or b?`` with the nearest names, to end a message; empty if none is."""
    near = difflib.get_close_matches(name, list(names), n=3)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def look_up(
    name: str, table: Mapping[str, Entry], kind: str, error: type[Exception] = ValueError
) -> Entry:
    """The entry of a table by name; raises ``error`` that lists the names for an unknown one.

    Examples
    --------
    >>> look_up("fsh", {"birds": 1, "fish": 2}, "class")
    Traceback (most recent call last):
        ...
    ValueError: no class 'fsh'; there are birds, fish; did you mean fish?
    """
    if name not in table:
        raise error(f"no {kind} {name!r}; there are {', '.join(table)}{did_you_mean(name, table)}")
    return table[name]
