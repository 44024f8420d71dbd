"""Resolves what pyproject.toml asks for into the lock files beside this script.

    python requirements/resolve.py             keep the versions that still fit
    python requirements/resolve.py --upgrade   take the newest

Prints which versions changed, as a table in Markdown.
A lock holds for each Python from 3.11 to 3.13 on Linux, macOS and Windows; its hashes make pip
refuse any other file. It names no address: pip asks the index it is set up with.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LEARNER = ["--extra", "lab"]
EVERYTHING = [*LEARNER, "--extra", "cluster", "--extra", "test"]


def resolve(name: str, *options: str) -> None:
    """Write one file of exact versions."""
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if uv is None:
        raise SystemExit("uv is not installed; run: pip install uv")
    command = [uv, "pip", "compile", "pyproject.toml", "--universal", "--python-version", "3.11"]
    command += ["--quiet", "--no-header", "--no-annotate", "--no-emit-index-url", *options]
    command += ["--output-file", f"requirements/{name}.txt"]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def versions() -> dict[str, str]:
    """What is locked: package and version, for each condition that it has."""
    text = (ROOT / "requirements" / "versions.txt").read_text(encoding="utf-8")
    parts = (line.partition(" ; ") for line in text.splitlines())
    pinned = ((*left.split("=="), condition) for left, _, condition in parts)
    return {f"{name} {condition}".strip(): version for name, version, condition in pinned}


def main() -> None:
    """All files: the versions first, then the same with hashes, then the oldest supported."""
    before = versions()
    resolve("versions", *EVERYTHING, "-c", "requirements/pins.in", *sys.argv[1:])
    # Extras are named: without them, pip before 23.3 takes `coverage[toml]` for a package of its
    # own that nothing pins, and refuses the file as soon as a newer coverage is out.
    locked = ["--generate-hashes", "--no-strip-extras", "--upgrade"]
    resolve("lab", *LEARNER, "-c", "requirements/versions.txt", *locked)
    resolve("test", *EVERYTHING, "-c", "requirements/versions.txt", *locked)
    resolve("oldest", *EVERYTHING, "--resolution", "lowest-direct", *locked)
    after = versions()
    print("| package | before | after |\n|---|---|---|")
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            print(f"| {name} | {before.get(name, '–')} | {after.get(name, '–')} |")


if __name__ == "__main__":
    main()
