"""Expectations: the ranges that claims and answers are held to, and how numbers are written."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Expectation:
    """A range of numbers, ends included unless ``open_low``, and how to say it.

    Examples
    --------
    >>> at_least(0.5).text, at_least(0.5).holds(0.4)
    ('at least 0.5', False)
    """

    text: str
    low: float = float("-inf")
    high: float = float("inf")
    open_low: bool = False

    def holds(self, measured: float) -> bool:
        """Whether ``measured`` is in the range; NaN never is."""
        above = measured > self.low if self.open_low else measured >= self.low
        return above and measured <= self.high


def equals(value: float) -> Expectation:
    """Exactly ``value``.

    Examples
    --------
    >>> equals(1280).text
    'exactly 1,280'
    """
    return Expectation(f"exactly {number(value)}", value, value)


def between(low: float, high: float) -> Expectation:
    """From ``low`` to ``high``.

    Raises
    ------
    ValueError
        When they are the wrong way round.

    Examples
    --------
    >>> between(1, 2).holds(2)
    True
    """
    if low > high:
        raise ValueError(f"between({low}, {high}): the first number must not exceed the second")
    return Expectation(f"between {number(low)} and {number(high)}", low, high)


def at_least(low: float) -> Expectation:
    """``low`` or more.

    Examples
    --------
    >>> at_least(3).holds(3)
    True
    """
    return Expectation(f"at least {number(low)}", low=low)


def at_most(high: float) -> Expectation:
    """``high`` or less.

    Examples
    --------
    >>> at_most(3).holds(4)
    False
    """
    return Expectation(f"at most {number(high)}", high=high)


def greater_than(other: float) -> Expectation:
    """More than ``other``.

    Examples
    --------
    >>> greater_than(3).holds(3)
    False
    """
    return Expectation(f"greater than {number(other)}", low=other, open_low=True)


def close_to(value: float, *, rel: float) -> Expectation:
    """Within the part ``rel`` of ``value``, on either side.

    Examples
    --------
    >>> close_to(100, rel=0.05).holds(104)
    True
    """
    margin = abs(value) * rel
    return Expectation(f"{number(value)} ± {rel:.3g} of it", value - margin, value + margin)


def number(value: float) -> str:
    """Whole numbers with separators, others with four significant digits."""
    return f"{int(value):,}" if float(value).is_integer() else f"{value:.4g}"
