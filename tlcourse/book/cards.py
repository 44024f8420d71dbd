"""Cards: a verdict in a small box, as HTML for JupyterLab and as plain text everywhere else."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

# Of the palette of plotting, and a grey: edges that stand out on white and on black. The sign and
# the word say the same, in the theme's own colour of text.
EDGES = {
    "✔": "#0072B2",
    "✘": "#D55E00",
    "=": "#009E73",
    "?": "#808080",
    "○": "#808080",
    "‼": "#CC79A7",
}


def card(
    sign: str, verdict: str, text: str = "", lines: Sequence[str] = (), small: str = ""
) -> str:
    """A card in HTML; it reads well without its styles too, which code hosts drop."""
    head = f"<strong>{sign} {escape(verdict)}</strong>"
    parts = [f"{head} · {escape(text)}" if text else head, *map(escape, filter(None, lines))]
    if small:
        parts.append(f"<small>{escape(small)}</small>")
    style = (
        f"border: 1px solid #808080; border-left: 6px solid {EDGES[sign]}; border-radius: 4px; "
        "padding: 6px 12px; margin: 4px 0; max-width: 720px; line-height: 1.45"
    )
    return f'<div style="{style}">' + "<br>".join(parts) + "</div>"


def present(text: str, html: str, metadata: Mapping[str, Any] | None = None) -> None:
    """Display both forms where there is a notebook or IPython, with metadata; else print ``text``.

    Notebooks keep the metadata beside the output, and nbval does not compare it.
    """
    if InteractiveShell.initialized():
        data = {"text/html": html, "text/plain": text}
        display(data, metadata=dict(metadata or {}), raw=True)
    else:
        print(text)
