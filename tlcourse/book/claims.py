"""Claims: what runs decide about a statement, alone or with others of one question."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import get_args

from tlcourse.book.register import keep
from tlcourse.book.statements import Kind, Statement, claimed, found, measured, rounded
from tlcourse.evidence import Effect, Provenance, Side, Verdict, decide, decide_together
from tlcourse.runtime import Profile, profile
from tlcourse.suggestions import did_you_mean

Said = Verdict | tuple[Verdict, ...]  # what the text says, or each verdict that it allows
Says = Said | Mapping[Profile, Said]


@dataclass(frozen=True)
class _Draft:
    """A claim whose runs are there and whose family is not yet complete."""

    statement: Statement
    effect: Effect
    says: Says


_family: list[_Draft] | None = None


def claim(
    id: str,
    statement: str,
    values: Sequence[float],
    source: str,
    *,
    says: Says,
    matters: float,
    than: float = 0.0,
    side: Side = "above",
    unit: str = "",
    overlap: float = 0.0,
    condition: str = "",
    note: str = "",
) -> None:
    """Decide a statement by its runs, show it as a card and record it.

    *Confirmed*: the 95 % interval of the mean lies beyond ``than`` on the claimed side; *refuted*:
    beyond it on the other; *equal*: it holds ``than``, within ± ``matters``; *undecided*: none of
    these, and the card says which effect the runs could have found.

    Parameters
    ----------
    id
        Its name, unique in the chapter.
    statement
        What is claimed, as one reads it.
    values
        One a run, three or more: paired differences, or raw values to be compared with ``than``.
    source
        Who says so.
    says
        The verdict in the text, of the quick profile; several, where the text allows each of them;
        or by profile, ``{"quick": …, "full": …}``.
    matters
        The smallest effect that would matter, in the values' unit. State it before you measure.
    than, side
        The bound, and on which side of it the mean is claimed to lie: ``above`` or ``below``.
    unit
        ``points`` for differences of shares and ``%`` for shares, which are shown as hundredths; or
        any other, such as ``steps``.
    overlap
        0 for independent runs; for random splits of one pool see ``evidence.split_overlap``.
    condition
        Under which it was measured: size and number of images, steps.
    note
        What else its card says.

    Raises
    ------
    ClaimFailed
        When this run gives another verdict, in a profile that the text speaks of.
    RuntimeError
        Before ``start_chapter``.
    ValueError
        For fewer than three runs, a verdict that there is not, and ``matters`` out of its range.

    References
    ----------
    ``tlcourse.evidence.decide``, which names its own.

    Examples
    --------
    >>> from tlcourse.book import start_chapter
    >>> profile = start_chapter("example")  # doctest: +ELLIPSIS
    chapter example · profile ...
    >>> gain = [0.01, 0.02, 0.03]
    >>> claim("better", "A beats B", gain, "folklore", says="undecided", matters=0.01, unit="points")
    ? undecided · claim · better: A beats B
      measured +2.0 ± 2.5 points (95 % interval, 3 runs); claimed: more than 0; what matters: 1 point · source: folklore
      these runs could have seen 3.3 points (power 80 %)
    """  # noqa: E501 (a card's line is as long as it is)
    effect = decide(values, matters=matters, than=than, side=side, overlap=overlap)
    _add("claim", id, statement, source, effect, says, unit, condition, note)


def recorded(
    id: str,
    statement: str,
    effect: Effect,
    source: str,
    *,
    provenance: Provenance,
    says: Said,
    unit: str = "",
    condition: str = "",
    note: str = "",
) -> None:
    """Show what the runs of a study say about a statement, and when and where these were made.

    A record is the same in every profile, and so is its verdict.

    Parameters
    ----------
    id, statement, source, unit, condition, note
        As in ``claim``.
    effect
        Of ``evidence.decide`` or ``decide_crossed``, alone in its family.
    provenance
        Of the study's runs.
    says
        The verdict in the text, or several that it allows.

    Raises
    ------
    ClaimFailed, RuntimeError, ValueError
        As in ``claim``.

    Examples
    --------
    >>> from tlcourse.book import start_chapter
    >>> from tlcourse.evidence import Provenance, decide
    >>> profile = start_chapter("example")  # doctest: +ELLIPSIS
    chapter example · profile ...
    >>> race = Provenance("race", "2026-11-28", "x86_64", "0123456789ab", 60)
    >>> recorded("fast", "A is faster", decide([3, 4, 5], matters=1), "folklore", provenance=race,
    ...          says="confirmed", unit="s")
    ✔ confirmed · recorded · fast: A is faster
      measured +4.0 ± 2.5 s (95 % interval, 3 runs); claimed: more than 0; what matters: 1 s · source: folklore
      these runs could have seen 3.3 s (power 80 %)
      recorded: study race, 60 trainings, 2026-11-28, x86_64, commit 0123456
    """  # noqa: E501 (a card's line is as long as it is)
    everywhere: Mapping[Profile, Said] = {"quick": says, "full": says}
    _add("recorded", id, statement, source, effect, everywhere, unit, condition, note, provenance)


@contextmanager
def claims_family(question: str, beside: Sequence[Effect] = ()) -> Iterator[None]:
    """Decide the claims made within together, by Holm: they answer one question.

    At the end of the block they are shown one below the other; then those whose verdict is not
    what the text says stop the chapter. Intervals stay those of each claim alone.

    Parameters
    ----------
    question
        What they have in common, in a few words.
    beside
        Effects of the same family that are decided with them and get no card.

    Raises
    ------
    RuntimeError
        Within another family.

    References
    ----------
    Holm (1979), A simple sequentially rejective multiple test procedure.

    Examples
    --------
    >>> from tlcourse.book import start_chapter
    >>> profile = start_chapter("example")  # doctest: +ELLIPSIS
    chapter example · profile ...
    >>> with claims_family("which rate"):
    ...     for name, runs in {"one": [2, 3, 2, 3], "other": [4, -1, 2, 3]}.items():
    ...         claim(name, "it is better", runs, "folklore", matters=1,
    ...               says=("confirmed", "undecided"))  # doctest: +ELLIPSIS
    ✔ confirmed · claim · one: it is better
      ...
      these runs could have seen ...; p = 0.0065 by Holm over the 2 claims of 'which rate'
    ? undecided · claim · other: it is better
      ...
    """
    global _family
    if _family is not None:
        raise RuntimeError("a family of claims is open already; close it before the next")
    drafts: list[_Draft] = []
    _family = drafts
    try:
        yield
    finally:
        _family = None
    effects = decide_together([*(draft.effect for draft in drafts), *beside])[: len(drafts)]
    _settle([replace(d, effect=e) for d, e in zip(drafts, effects, strict=True)], question)


def _add(
    kind: Kind,
    id: str,
    statement: str,
    source: str,
    effect: Effect,
    says: Says,
    unit: str,
    condition: str,
    note: str,
    provenance: Provenance | None = None,
) -> None:
    """Settle a claim, or leave it to the family that is open."""
    _check_says(says)
    bound = rounded(effect.than)
    limits = (bound, None) if effect.side == "above" else (None, bound)
    kept = Statement(
        kind=kind,
        id=id,
        statement=statement,
        source=source,
        verdict=effect.verdict,
        measured=measured(effect, unit),
        expected=claimed(effect, unit),
        unit=unit,
        value=rounded(effect.mean),
        runs=effect.runs,
        limits=limits,
        sd=rounded(effect.sd),
        overlap=rounded(effect.overlap),
        matters=rounded(effect.matters),
        p=rounded(effect.p),
        condition=condition,
        note=note,
        provenance=asdict(provenance) if provenance else None,
        recorded=str(provenance) if provenance else "",
    )
    draft = _Draft(kept, effect, says)
    if _family is None:
        _settle([draft])
    else:
        _family.append(draft)


def _settle(drafts: Sequence[_Draft], family: str = "") -> None:
    """Give each claim the verdict of its effect, then show and record all."""
    statements = []
    for draft in drafts:
        effect, kept = draft.effect, draft.statement
        low, high = rounded(effect.low), rounded(effect.high)
        kept = replace(
            kept,
            verdict=effect.verdict,
            interval=None if low is None or high is None else (low, high),
            detectable=rounded(effect.detectable),
            p_family=rounded(effect.p) if family else None,
            family=family,
            found=found(effect, kept.unit, family),
        )
        by_profile = draft.says if isinstance(draft.says, Mapping) else {"quick": draft.says}
        said = by_profile.get(profile(), by_profile["quick"])
        says = (said,) if isinstance(said, str) else said
        statements.append((kept, says, profile() in by_profile))
    keep(statements)


def _check_says(says: Says) -> None:
    by_profile = says if isinstance(says, Mapping) else {"quick": says}
    if "quick" not in by_profile or not set(by_profile) <= set(get_args(Profile)):
        raise ValueError(f"says has the profiles {[*by_profile]}; expected quick, and full or not")
    verdicts = get_args(Verdict)
    for said in by_profile.values():
        for verdict in (said,) if isinstance(said, str) else said:
            if verdict not in verdicts:
                expected = ", ".join(verdicts) + did_you_mean(verdict, verdicts)
                raise ValueError(f"says is {verdict!r}; expected one of {expected}")
