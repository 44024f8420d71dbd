"""What no compared output may hold, because it changes without any change of ours."""

import ast
import re
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "tlcourse"
KINDS = {
    "version": re.compile(r"\b\d+\.\d+\.\d+"),
    "path": re.compile(r"""(?:^|[\s'"(])(?:~?/|\.{1,2}/|[A-Za-z]:[\\/])\w"""),
    "address": re.compile(r"\b\w+://|\bwww\.|\blocalhost\b|\b0x[0-9a-fA-F]{6,}"),
    "time": re.compile(r"\d\s?(?:[µmn]?s|min|h|seconds?|minutes?|hours?)\b|\b\d\d:\d\d\b"),
    "date": re.compile(r"\b20\d\d-\d\d-\d\d\b"),
}
FLOAT = re.compile(r"(?<![\w.])\d[\d,]*\.\d+(?:e[-+]?\d+)?(?![\w.])")
ERROR = re.compile(r"\b\w*(?:Error|Exception|Warning|Interrupt): (.*)")
WORDS = re.compile(r"[^\W\d_]{2,}(?: [^\W\d_]{2,}){2}")  # three in a row are a sentence's


def drift(text: str, source: str = "") -> list[str]:
    """What in a compared output would differ on another machine or with another library.

    Numbers that stand in the cell's ``source`` are ours, as are versions in the package's strings.
    """
    found = [
        f"{kind} {match.group().strip()!r}"
        for kind, pattern in KINDS.items()
        for match in pattern.finditer(text)
        if not (kind == "version" and any(match.group() in own for own in own_words()))
    ]
    for match in FLOAT.finditer(text):
        digits = re.sub(r"e.*|\D", "", match.group()).strip("0")
        if len(digits) > 4 and match.group() not in source:
            found.append(f"digits {match.group()!r}")
    found += [f"words {words!r}" for line in ERROR.findall(text) for words in foreign_words(line)]
    return found


def foreign_words(message: str) -> list[str]:
    """Parts of sentences in an error's message that stand nowhere in the package's sources."""
    for own in own_words():
        message = message.replace(own, "\0")
    return WORDS.findall(message)


@cache
def own_words() -> list[str]:
    """The texts between the braces of every string in the package, but docstrings; longest first.

    Short ones are left out: their pieces would be found in any sentence.
    """
    texts = set()
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        texts |= {
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docs
            and len(node.value.strip()) >= 8
        }
    return sorted(texts, key=len, reverse=True)
