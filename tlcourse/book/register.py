"""The chapter that is open, and the file of what it states."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace

import torch

from tlcourse.book.cards import present
from tlcourse.book.statements import METADATA, Statement
from tlcourse.environment import environment
from tlcourse.files import replacing
from tlcourse.runtime import CLAIMS_DIR, Profile, device, profile, seed_everything


class ClaimFailed(AssertionError):
    """A sentence of the chapter is not true on this machine."""


_chapter: str | None = None
_statements: dict[str, Statement] = {}


def start_chapter(name: str, *, seed: int = 0) -> Profile:
    """Begin a chapter: seed, forget what it stated before, say where it runs.

    Parameters
    ----------
    name
        The notebook's file stem.
    seed
        For Python's, NumPy's and torch's generators.

    Returns
    -------
    Profile
        ``quick`` or ``full``.

    Examples
    --------
    >>> profile = start_chapter("example")  # doctest: +ELLIPSIS
    chapter example · profile ...
    """
    global _chapter
    _chapter = name
    _statements.clear()
    (CLAIMS_DIR / f"{name}.json").unlink(missing_ok=True)
    seed_everything(seed)
    line = (
        f"chapter {name} · profile {profile()} · {device().type}, {torch.get_num_threads()} threads"
        f" · torch {torch.__version__.split('+')[0]}"
    )
    present(line, f"<small>{line}</small>")
    return profile()


def keep(statements: Sequence[tuple[Statement, tuple[str, ...], bool]]) -> None:
    """Show and record statements; stop where one is not what the text says.

    Each comes with the verdicts that the text allows, and whether the text speaks of this profile:
    where it does not, another verdict is told and stops nothing.
    """
    if _chapter is None:
        raise RuntimeError('call start_chapter("NN_topic") in the first cell of the chapter')
    failures = []
    for statement, says, binding in statements:
        kept = statement
        if statement.verdict not in says:
            said = " or ".join(says)
            if binding:
                failures.append(f"the chapter says {said}, this run does not:\n{statement}")
                kept = replace(statement, verdict="failed")
            else:
                told = f"the text was written for the quick profile, where the verdict is: {said}"
                kept = replace(statement, told=told)
        _statements[kept.id] = kept
        _write()
        present(str(kept), kept.html(), {METADATA: asdict(kept)})
    if failures:
        raise ClaimFailed("\n".join(failures))


def _write() -> None:
    content = {
        "chapter": _chapter,
        "profile": profile(),
        "environment": environment(),
        "claims": [asdict(statement) for statement in _statements.values()],
    }
    with replacing(CLAIMS_DIR / f"{_chapter}.json") as temporary:
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
