"""A study's findings as a forest: one row each, the effect with its interval, by verdict."""

from collections import Counter
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt

from tlcourse.book.plotting import PALETTE, Picture
from tlcourse.evidence import Verdict
from tlcourse.studies.findings import Finding
from tlcourse.studies.report import describe_setting

SIGNS: Mapping[Verdict, tuple[str, str]] = {  # colour and marker, so that either tells the verdict
    "confirmed": (PALETTE[2], "o"),
    "refuted": (PALETTE[1], "X"),
    "equal": (PALETTE[0], "s"),
    "undecided": (PALETTE[6], "D"),
}


def forest(found: Sequence[Finding], *, title: str, effect: str, interim: bool = False) -> Picture:
    """Effects with their 95 % intervals, grouped by comparison, beside the band that matters not.

    Parameters
    ----------
    found : sequence of Finding
        From ``findings``, of one study; one or more.
    title : str
        Of the figure.
    effect : str
        What is on the axis, with its unit.
    interim : bool
        Draws no verdicts: the study is not recorded whole.

    Returns
    -------
    Picture
        The figure and its alternative text, for ``show``.

    Raises
    ------
    ValueError
        When there is nothing to draw.

    Examples
    --------
    >>> forest([], title="nothing", effect="difference")
    Traceback (most recent call last):
    ValueError: no findings; a comparison needs three runs
    """
    if not found:
        raise ValueError("no findings; a comparison needs three runs")
    statements = list(dict.fromkeys(finding.comparison.statement for finding in found))
    height = 0.27 * len(found) + 0.42 * len(statements) + 1.3
    figure, axis = plt.subplots(figsize=(7, height))
    matters = found[0].effect.matters
    axis.axvspan(-matters, matters, color="#eeeeee", zorder=0)
    axis.axvline(0, color="black", linewidth=1)
    labels: dict[float, str] = {}
    row = 0.0
    for statement in statements:
        axis.annotate(
            statement,
            (0.02, row),
            xycoords=("figure fraction", "data"),
            annotation_clip=False,
            in_layout=False,  # it may stand beside the axis, on the rows' names
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
            fontsize=9,
            fontweight="bold",
            va="center",
        )
        row += 1
        for finding in (f for f in found if f.comparison.statement == statement):
            of = finding.effect
            color, marker = SIGNS["undecided" if interim else of.verdict]
            axis.plot([of.low, of.high], [row, row], color=color, linewidth=2)
            axis.plot(of.mean, row, marker, color=color, markersize=7)
            labels[row] = describe_setting(finding)
            row += 1
        row += 0.5
    axis.set_yticks(list(labels), list(labels.values()))
    axis.set(ylim=(row - 0.5, -0.7), xlabel=f"{effect}\n(grey: less than what matters)")
    axis.grid(axis="y", visible=False)
    axis.set_title(f"{title}, so far" if interim else title)
    if interim:
        return Picture(figure, _alt(found, statements, title, interim))
    counts = Counter(finding.effect.verdict for finding in found)
    handles = [
        plt.Line2D([], [], color=color, marker=marker, label=f"{verdict} ({counts[verdict]})")
        for verdict, (color, marker) in SIGNS.items()
        if counts[verdict]
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return Picture(figure, _alt(found, statements, title, interim))


def _alt(found: Sequence[Finding], statements: Sequence[str], title: str, interim: bool) -> str:
    parts = []
    for statement in statements:
        of = [f for f in found if f.comparison.statement == statement]
        counts = Counter(f.effect.verdict for f in of)
        low, high = min(f.effect.mean for f in of), max(f.effect.mean for f in of)
        told = ": " + ", ".join(f"{number} {verdict}" for verdict, number in counts.items())
        parts.append(
            f"{statement} Effects from {low:+.2f} to {high:+.2f}{'' if interim else told}."
        )
    so_far = ", an interim look" if interim else ""
    return f"{title}: effects with 95 % intervals{so_far}. " + " ".join(parts)
