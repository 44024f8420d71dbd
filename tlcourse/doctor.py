"""``tlcourse doctor``: what this machine has, what is missing or damaged, and the cure."""

import base64
import hashlib
import importlib
import os
import platform
import shutil
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

from tlcourse import __version__

# What a reader will ask for by version, and the extra that brings it.
PACKAGES = {
    "torch": "",
    "torchvision": "",
    "timm": "",
    "matplotlib": "",
    "torchinfo": "",
    "onnxruntime": "",
    "jupyterlab": "lab",
    "nbval": "test",
    "pytest": "test",
}


def examine() -> int:
    """Print the report; 1 when something that the course needs is missing or damaged, else 0."""
    system = f"{platform.system()} {platform.machine()}"
    print(f"tlcourse {__version__} · Python {platform.python_version()} · {system}")
    for package in PACKAGES:
        print(f"  {package:<12} {_version(package)}")
    problems = _check("torch and torchvision fit together", _import_torch)
    if problems:  # nothing below could be imported
        return 1
    problems += _check("weights of efficientnet_lite0", _weights)
    for name in ("cutouts", "elpv", "digits", "rendered_digits"):
        problems += _check(f"data set {name}", partial(_dataset, name))
    problems += _check("optional data sets", _optional)
    print("all that the course needs is here" if not problems else f"{problems} to mend, see above")
    return int(problems > 0)


def _check(what: str, examine_it: Callable[[], str]) -> int:
    """Print one line; 0 if well, 1 if not. Any error is a finding here, none a crash."""
    try:
        found = examine_it()
    except Exception as error:  # noqa: BLE001 (of whatever kind, the doctor reports it)
        print(f"✘ {what}: {error}")
        return 1
    print(f"✔ {what}: {found}")
    return 0


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        extra = f"[{PACKAGES[package]}]" if PACKAGES[package] else ""
        return f"not installed; run: pip install 'tlcourse{extra}'"


def _import_torch() -> str:
    torch = importlib.import_module("torch")
    try:
        importlib.import_module("torchvision")
    except Exception as error:
        raise RuntimeError(
            f"torchvision cannot be imported ({error}); builds that do not belong together are the "
            "usual cause. Cure: pip install --force-reinstall torch torchvision"
        ) from error
    from tlcourse.runtime import REPO_DIR, device, profile

    name = torch.cuda.get_device_name() if device().type == "cuda" else "no GPU, that is fine"
    free = shutil.disk_usage(REPO_DIR).free / 1e9
    return (
        f"device {device().type} ({name}), {torch.get_num_threads()} threads of "
        f"{os.cpu_count()} cores, profile {profile()}, {free:.0f} GB free"
    )


def _weights() -> str:
    from tlcourse.networks.pretrained import verify_weights

    return f"{verify_weights().name}, SHA-256 as published"


def _dataset(name: str) -> str:
    from tlcourse.datasets import load_dataset
    from tlcourse.datasets.cutouts import damaged_files
    from tlcourse.errors import DatasetError
    from tlcourse.runtime import IN_CLONE

    dataset = load_dataset(name)
    if name == "cutouts" and (damaged := damaged_files()):
        cure = "git checkout -- data/cutouts" if IN_CLONE else _reinstall("tlcourse")
        raise DatasetError(
            f"{len(damaged)} files are changed, {damaged[0].name} first; restore them with: {cure}"
        )
    if name == "elpv":
        _verify_package("elpv-dataset")
    return f"{len(dataset):,} images in {dataset.num_classes} classes, licence {dataset.licence}"


def _verify_package(package: str) -> None:
    """Compare an installed package's files with the SHA-256 that pip recorded for each."""
    for file in distribution(package).files or ():
        if file.hash is None:
            continue
        digest = hashlib.new(file.hash.mode, Path(file.locate()).read_bytes()).digest()
        if base64.urlsafe_b64encode(digest).decode().rstrip("=") != file.hash.value:
            raise ValueError(f"{file} is changed; run: {_reinstall(package)}")


def _reinstall(package: str) -> str:
    return f"pip install --force-reinstall --no-deps {package}"


def _optional() -> str:
    from tlcourse.datasets import OFFLINE, available, load_dataset
    from tlcourse.errors import DatasetError

    lines = []
    for name in available():
        if name in OFFLINE:
            continue
        try:
            found = f"{len(load_dataset(name)):,} images"
        except DatasetError:
            found = f"not here, and not needed; load_dataset({name!r}, download=True) fetches it"
        lines.append(f"\n  {name}: {found}")
    return "".join(lines)
