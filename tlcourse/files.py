"""Writing so that a killed process leaves what was there, or the whole of what comes, and no more.

What the system says of a failed write becomes an ``OutputError`` that names the file and a cure.
"""

import errno
import os
import re
import shutil
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tlcourse.errors import OutputError

STALE = 3600  # seconds after which a partial file is taken for what a killed process left
_PARTIAL = re.compile(r"\.(.+)\.[0-9a-f]{32}\.partial")

_FULL = "make room on the disk and call again"
_REFUSED = "name a folder in which you may write"
_CURES = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: "use a disk that takes files of that size",
    errno.EROFS: _REFUSED,
    errno.EACCES: _REFUSED,
    errno.EPERM: _REFUSED,
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOTEMPTY: "another process has just written there: name another",
}
_CURES_OF_SQLITE = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: _REFUSED,
    sqlite3.SQLITE_CANTOPEN: _REFUSED,
    sqlite3.SQLITE_PERM: _REFUSED,
}
_CURE = "see that its folder is there and that the disk is sound"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an error of the system, or of SQLite, into an ``OutputError`` about ``path``.

    Examples
    --------
    >>> with writing(Path("model.onnx")):
    ...     raise OSError(errno.ENOSPC, "No space left on device")
    Traceback (most recent call last):
    tlcourse.errors.OutputError: model.onnx cannot be written (No space left on device); make ...
    """
    try:
        yield
    except OSError as error:
        cure = _CURES.get(error.errno or 0, _CURE)
        raise _refused(path, error.strerror or str(error), cure) from error
    except sqlite3.OperationalError as error:
        raise _refused(path, str(error), _CURES_OF_SQLITE.get(_code(error), _CURE)) from error


def _code(error: BaseException | None) -> int:
    """SQLite's code without its further particulars, 0 for another error."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _refused(path: Path, reason: str, cure: str) -> OutputError:
    return OutputError(f"{path} cannot be written ({reason}); {cure}")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside ``path`` to write to; it takes the place of ``path`` at the end.

    Makes the folder where it is missing. After an error ``path`` is as it was; raises OutputError
    where it cannot be written.
    """
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        drop_partials(path.parent, path.name)
        # Not by tempfile, whose files nobody but their owner may read.
        temporary = _partial(path)
        try:
            temporary.touch(exist_ok=False)
            yield temporary
            os.replace(temporary, path)
        finally:
            with suppress(OSError):  # the first error is the one to tell
                temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside ``path`` to write into; it becomes ``path`` at the end.

    After an error there is no such folder; raises OutputError where it cannot be written.
    """
    path = Path(path)
    temporary = _partial(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        drop_partials(path.parent, path.name)
        temporary.mkdir()
    try:
        yield temporary
        with writing(path):
            os.rename(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def is_partial(path: Path) -> bool:
    """Whether it has a name that only ``replacing`` and ``new_folder`` give."""
    return _PARTIAL.fullmatch(path.name) is not None


def drop_partials(folder: Path, name: str | None = None, *, older: float = STALE) -> None:
    """Delete what killed processes left in a folder, of the file ``name`` or of all.

    Younger ones than ``older`` seconds may be in the making.
    """
    for path in list(folder.iterdir()):
        found = _PARTIAL.fullmatch(path.name)
        if found and name in (None, found[1]):
            with suppress(OSError):  # gone by now
                if time.time() - path.stat().st_mtime >= older:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextmanager
def locked(path: Path, busy: Exception) -> Iterator[None]:
    """Hold the file ``path``, which is made and goes again; raises ``busy`` where another does.

    SQLite's own lock, which is the same on every system and ends with its process.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = sqlite3.connect(path, timeout=0)
    try:
        try:
            with writing(path):
                lock.execute("PRAGMA journal_mode = MEMORY")  # no second file
                lock.execute("BEGIN EXCLUSIVE")
        except OutputError as error:
            if _code(error.__cause__) == sqlite3.SQLITE_BUSY:
                raise busy from error
            raise
        if not path.exists():  # who held it has just ended, and took it away
            raise busy
        try:
            yield
        finally:
            with suppress(OSError):  # before it is free, so that it is never another's
                path.unlink()
    finally:
        lock.close()
        if os.name == "nt":  # where only now it can go, unless another has it open
            with suppress(OSError):
                path.unlink()


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
