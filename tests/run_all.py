"""Lint, types, contracts, unit tests with doctests, programs, every notebook; each part's time.

Programs are whole ones: started, fuzzed, killed, or run from a folder of images to a report. They
and the unit tests run side by side, notebooks one after the other: they measure times.

    python tests/run_all.py [full]

With ``full`` the notebooks run in the full profile, for a machine with a GPU.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = ["tests/programs", "tests/fuzz"]
CELL_TIMEOUT = {"quick": 300, "full": 7200}  # seconds


def main() -> int:
    profile = sys.argv[1] if len(sys.argv) > 1 else "quick"
    python = [sys.executable, "-m"]
    lint_imports = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    side_by_side = [
        *(*python, "pytest", "-n", "logical", "--maxprocesses", "4", "--dist", "worksteal"),
        *("-p", "no:nbval", "--durations=10", "-q"),  # nbval takes two seconds to import
    ]
    parts = {
        "ruff": [*python, "ruff", "check", "."],
        "format": [*python, "ruff", "format", "--check", "."],
        "types": [*python, "mypy"],
        "contracts": [sys.executable, "-c", lint_imports],
        "unit tests": [
            *side_by_side,
            *(f"--ignore={folder}" for folder in PROGRAMS),
            *("--doctest-modules", "tests", "tlcourse"),
        ],
        "programs": [*side_by_side, *PROGRAMS],
        "notebooks": [
            *python,
            "pytest",
            "--nbval-lax",
            "--nbval-current-env",
            f"--nbval-cell-timeout={CELL_TIMEOUT[profile]}",
            "--durations=5",
            "-q",
            "notebooks",
        ],
    }
    # Bars would fill the log; the kernels inherit both settings.
    environment = {**os.environ, "TLCOURSE_PROGRESS": "0", "TLCOURSE_PROFILE": profile}
    results = []
    for name, command in parts.items():
        print(f"\n== {name}", flush=True)
        started = time.perf_counter()
        # One thread for each process: two that share the cores wait for each other.
        threads = {"OMP_NUM_THREADS": "1"} if name in ("unit tests", "programs") else {}
        code = subprocess.run(command, cwd=ROOT, env=environment | threads).returncode
        results.append((name, time.perf_counter() - started, code))
    print()
    for name, seconds, code in results:
        print(f"{name:<12}{seconds:7.1f} s  {'passed' if code == 0 else 'FAILED'}")
    return int(any(code for _, _, code in results))


if __name__ == "__main__":
    raise SystemExit(main())
