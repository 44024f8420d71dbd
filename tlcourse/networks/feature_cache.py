"""Features kept on disk: what makes up their key, and a folder of them that is bounded in size."""

import os
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import suppress
from functools import lru_cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from jaxtyping import Shaped
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tlcourse import runtime
from tlcourse.files import drop_partials, replacing
from tlcourse.hashing import hash_tensors
from tlcourse.networks.backbone import Backbone

DEFAULT_BYTES = 2**30
# RuntimeError is torch's, for a file that another process drops while safetensors opens it.
_NOT_THERE = (OSError, SafetensorError, RuntimeError)


def prefix_key(backbone: Backbone, up_to: str) -> str:
    """SHA-256 of all that makes up the numbers of a prefix, on this kind of device.

    Its modules and their source files, weights and buffers, the preprocessing, and the versions of
    the libraries that run it.
    """
    stages = backbone.stage_names[: backbone.stage_index(up_to) + 1]
    parts = {stage: backbone.get_submodule(stage) for stage in stages}
    header = (
        backbone.name,
        backbone.preprocessing,
        up_to,
        # A GPU computes in mixed precision, so its features are not quite the CPU's.
        runtime.device().type,
        [(library, _version(library)) for library in ("torch", "onnxruntime")],
        [repr(part) for part in parts.values()],  # a ReLU that became a GELU has no weights
        _sources(backbone, *parts.values()),
    )
    tensors: dict[object, Tensor] = {
        f"{stage}.{name}": tensor
        for stage, part in parts.items()
        for name, tensor in part.state_dict().items()
    }
    return hash_tensors(tensors, header=repr(header))


def cache_key(backbone: Backbone, images: Shaped[Tensor, "n 3 h w"], up_to: str) -> str:
    """SHA-256 of the images and of all that makes up their features (see ``prefix_key``).

    Which engine runs them follows from the number and size of the images and the device.
    """
    return hash_tensors({"images": images}, header=prefix_key(backbone, up_to))


class DiskCache(MutableMapping):  # of str to Tensor; said so, beartype would read a file a call
    """Tensors kept as one safetensors file per key in a folder; a damaged file counts as absent.

    Several processes may use one folder at the same time. Setting an item raises OutputError where
    the folder takes no file, or no more.

    Parameters
    ----------
    folder
        Is made where it is missing.
    max_bytes
        What the files may take together; the least recently used go first, and a tensor that is
        larger than all of it is not kept. None: no bound.

    Examples
    --------
    >>> import tempfile, torch
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cache = DiskCache(folder)
    ...     cache["zeros"] = torch.zeros(2, 3)
    ...     list(cache), cache["zeros"].shape
    (['zeros'], torch.Size([2, 3]))
    """

    def __init__(self, folder: Path | str, *, max_bytes: int | None = None) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.max_bytes = max_bytes

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"

    def __getitem__(self, key: str) -> Tensor:
        path = self._path(key)
        try:
            tensor = load_file(path)["features"]
        except _NOT_THERE as error:
            raise KeyError(key) from error
        with suppress(OSError):  # another process may have dropped it by now
            os.utime(path)  # its time of change says when it was last used
        return tensor

    def __setitem__(self, key: str, features: Tensor) -> None:
        if self.max_bytes is not None and features.nbytes > self.max_bytes:
            return
        with replacing(self._path(key)) as temporary:
            try:
                save_file({"features": features.contiguous()}, temporary)
            except SafetensorError as error:  # what it makes of an error of the system
                raise OSError(str(error)) from error
        self._drop_oldest()

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self._path(key).unlink()

    def __iter__(self) -> Iterator[str]:
        return (p.stem for p in sorted(self.folder.glob("*.safetensors")) if _is_whole(p))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _drop_oldest(self) -> None:
        drop_partials(self.folder)  # what killed processes left counts, too
        if self.max_bytes is None:
            return
        found = []
        for path in self.folder.glob("*.safetensors"):
            with suppress(FileNotFoundError):  # dropped by another process
                status = path.stat()
                found.append((status.st_mtime_ns, status.st_size, path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self.max_bytes:
                break
            with suppress(OSError):  # dropped already, or (Windows) in use: it goes another time
                path.unlink()
            total -= size


def default_cache() -> DiskCache | None:
    """The folder ``features`` in the build folder, at most 1 GiB; None where none can be made."""
    try:
        return DiskCache(runtime.BUILD_DIR / "features", max_bytes=DEFAULT_BYTES)
    except OSError:
        return None


def _is_whole(path: Path) -> bool:
    """Whether a file's header fits its length, which safetensors checks without reading on."""
    try:
        with safe_open(path, framework="pt"):
            return True
    except _NOT_THERE:
        return False


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "absent"


def _sources(*parts: nn.Module) -> list[str]:
    """Digests of the files in which the modules' classes are written."""
    names = {type(module).__module__ for part in parts for module in part.modules()}
    files = {getattr(sys.modules.get(name), "__file__", None) for name in names}
    return sorted({_digest(file) for file in files if file})


@lru_cache
def _digest(file: str) -> str:
    return sha256(Path(file).read_bytes()).hexdigest()
