"""What is recorded beside every measurement: date, commit, device and versions."""

import datetime
import platform
import subprocess
from functools import cache
from importlib.metadata import version
from typing import Any

import torch

from tlcourse.runtime import IN_CLONE, REPO_DIR, device


def environment() -> dict[str, Any]:
    """Date, commit, device and versions, as recorded beside every measurement."""
    cuda = device().type == "cuda"
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "device": torch.cuda.get_device_name() if cuda else platform.machine(),
        "threads": torch.get_num_threads(),
        "platform": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": version("torchvision"),
        "timm": version("timm"),
    }


@cache
def _commit() -> str:
    """The commit of the course, with ``+`` when files were changed since; unknown without git."""
    if not IN_CLONE:  # whose repository the installed package lies in is no matter of the course
        return "unknown"
    git = ["git", "-C", str(REPO_DIR)]
    try:
        done = subprocess.run(
            [*git, "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
