"""Kill jobs at random moments, do them again and compare with undisturbed ones.

``python tests/fuzz/kills.py 1000 0`` kills 1,000 times, with the moments of seed 0; names of kinds
(see ``kill_jobs.KINDS``) behind it choose among them. A case that fails stays in its folder.
"""

import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
from kill_jobs import KINDS, Kind, State, check_files, material_for, partials, state

AN_HOUR = 3600
# Imports are paid once.
_fork = multiprocessing.get_context("fork") if hasattr(os, "fork") else None


def kill_often(kinds: Sequence[str], kills: int, seed: int, root: Path) -> dict[str, int]:
    """Kill about so often, by each kind's share; the numbers of kills. AssertionError if it shows.

    A job that was killed one to three times is done to its end and compared.
    """
    generator = random.Random(seed)
    material = root / "material"
    material.mkdir()
    finish(start(lambda: material_for(set(kinds), material)))
    untouched = state(material)
    shares = sum(KINDS[name].share for name in kinds)
    counts = {}
    for name in kinds:
        wanted = max(1, round(kills * KINDS[name].share / shares))
        counts[name] = _kill_kind(KINDS[name], wanted, generator, root / name, material)
        print(f"{name}: {counts[name]} kills, seed {seed}", flush=True)
        assert state(material) == untouched, f"{name} changed what is the user's"
    return counts


def _kill_kind(
    kind: Kind, wanted: int, generator: random.Random, root: Path, material: Path
) -> int:
    quiet = root / "quiet"
    quiet.mkdir(parents=True)
    began = time.monotonic()
    finish(start(lambda: kind.job(quiet, material)))
    seconds = time.monotonic() - began
    expected = state(quiet)
    assert not partials(quiet)
    killed = case = 0
    while killed < wanted:
        folder = root / f"case{case}"
        folder.mkdir()
        case += 1
        done = False
        for _ in range(min(generator.randint(1, 3), wanted - killed)):
            number, done = kill_once(kind, generator, seconds, folder, material)
            killed += number
            check_files(folder, expected)
            _age(folder)
            if done:
                break
        if not done:
            finish(start(lambda folder=folder: kind.job(folder, material)))
        _compare(folder, expected)
        shutil.rmtree(folder)
    return killed


def _age(folder: Path) -> None:
    """Let an hour pass for what was left; a fit that goes on clears up its output at once."""
    going_on = (folder / "out" / "started.json").exists()
    for path in partials(folder):
        if not (going_on and path.is_relative_to(folder / "out")):
            os.utime(path, (time.time() - AN_HOUR - 1,) * 2)


def _compare(folder: Path, expected: State) -> None:
    """Which keys a bounded cache kept depends on who wrote last; the build folder's may have
    partial files until the next is written there."""
    found = state(folder)
    for path in partials(folder):
        assert path.is_relative_to(folder / "build"), path
        del found[path.relative_to(folder).as_posix()]
    names = {name for name in {*found, *expected} if not name.startswith("cache/")}
    differing = sorted(name for name in names if found.get(name) != expected.get(name))
    assert not differing, f"{folder}: {', '.join(differing)} differ"


def kill_once(
    kind: Kind, generator: random.Random, seconds: float, folder: Path, material: Path
) -> tuple[int, bool]:
    """Begin a job and kill it within its usual time; how many were killed, whether all ended."""
    children = [start(lambda: kind.job(folder, material)) for _ in range(kind.writers)]
    killed = 0
    for child in children:
        child.join(generator.uniform(0, seconds))
        child.kill()
        child.join()
        killed += child.exitcode == -9
        assert child.exitcode in (0, -9), f"{folder}: ended with {child.exitcode}"
    return killed, killed == 0


def start(job) -> BaseProcess:
    def run() -> None:
        torch.set_num_threads(1)
        os.environ["TLCOURSE_PROGRESS"] = "0"
        with open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), 1)
        try:
            job()
        except BaseException:  # noqa: BLE001 - told, and then the end of the child
            traceback.print_exc()
            os._exit(1)
        os._exit(0)  # without what the parent has to do at its end

    child = _fork.Process(target=run)
    child.start()
    return child


def finish(child: BaseProcess) -> None:
    child.join()
    assert child.exitcode == 0, f"ended with {child.exitcode}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    root = Path(tempfile.mkdtemp(prefix="tlcourse-kills-"))
    counts = kill_often(sys.argv[3:] or list(KINDS), int(sys.argv[1]), int(sys.argv[2]), root)
    shutil.rmtree(root)
    print(f"{sum(counts.values())} kills, and nothing was lost")
