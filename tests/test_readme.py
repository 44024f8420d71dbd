"""What the README shows runs: its Python as it stands, its commands by name."""

import argparse
import re
from pathlib import Path

import pytest

from tlcourse import cli

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
PYTHON = [text for language, text in BLOCKS if language == "python"]
COMMANDS = "\n".join(text for language, text in BLOCKS if language in ("", "bash", "sh", "console"))


@pytest.mark.parametrize("code", PYTHON)
def test_python_runs(code: str, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(code, {})


def test_commands_exist(monkeypatch):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^(\w+):", makefile, re.MULTILINE))
    assert set(re.findall(r"^make (\w+)", COMMANDS, re.MULTILINE)) <= targets

    offered = set()
    add_parser = argparse._SubParsersAction.add_parser

    def noted(self, name, **settings):
        offered.add(name)
        return add_parser(self, name, **settings)

    monkeypatch.setattr(argparse._SubParsersAction, "add_parser", noted)
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    asked = set(re.findall(r"^(?:\S*/)?tlcourse (\w+)", COMMANDS, re.MULTILINE))
    assert asked <= offered and "doctor" in offered
