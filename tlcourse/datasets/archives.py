"""Unpack an archive of images that somebody sent: nothing outside the folder, nothing endless."""

import os
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO

from tlcourse.datasets.layouts import printable
from tlcourse.errors import ArchiveError, DatasetError, OutputError
from tlcourse.files import writing

MAX_FILES = 200_000
MAX_BYTES = 20 * 2**30
MAX_RATIO = 200  # unpacked to packed; photographs hardly compress, a bomb does so 1,000 times
MAX_NAME = 255
CHUNK = 2**20

Member = tuple[str, IO[bytes]]


def is_archive(path: Path) -> bool:
    """Whether a path is a file that zipfile or tarfile can read.

    Examples
    --------
    >>> is_archive(Path(__file__))
    False
    """
    return path.is_file() and (zipfile.is_zipfile(path) or tarfile.is_tarfile(path))


@contextmanager
def as_folder(path: Path) -> Iterator[Path]:
    """``path`` itself, or a folder for a while with what is in the archive ``path``.

    What a DatasetError says of that folder, it says of the archive.

    Examples
    --------
    >>> with as_folder(Path(__file__).parent) as folder:
    ...     folder == Path(__file__).parent
    True
    """
    if not is_archive(path):
        yield path
        return
    with TemporaryDirectory() as temporary:
        folder = Path(temporary, "images")
        unpack(path, folder)
        try:
            yield folder
        except DatasetError as error:
            raise type(error)(str(error).replace(str(folder), printable(path))) from error


def unpack(path: Path, folder: Path) -> None:
    """Unpack the plain files of an archive, under their own names.

    What an archive says of its size is not believed: bytes are counted while they are written.

    Parameters
    ----------
    path
        A zip or tar archive, also a compressed one.
    folder
        Must not exist yet; after an error it is gone again.

    Raises
    ------
    ArchiveError
        For names that lead out of the folder, links, devices, encrypted or damaged archives, and
        for more than 200,000 files, 20 GiB or 200 times the archive's size.
    OutputError
        When the disk takes no more.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as name:
    ...     archive = Path(name, "images.zip")
    ...     zipfile.ZipFile(archive, "w").writestr("../evil.png", b"")
    ...     unpack(archive, Path(name, "images"))
    Traceback (most recent call last):
    tlcourse.errors.ArchiveError: the archive names '../evil.png', which leads out of its folder
    """
    if folder.exists():
        raise ArchiveError(f"{printable(folder)} is there already; unpack into a new folder")
    limit = min(MAX_BYTES, MAX_RATIO * path.stat().st_size)
    try:
        with _members(path, folder) as members:
            _write(members, folder, limit)
    except (ArchiveError, OutputError):
        shutil.rmtree(folder, ignore_errors=True)
        raise
    except Exception as error:  # zipfile and tarfile raise many kinds for damaged files
        shutil.rmtree(folder, ignore_errors=True)
        raise ArchiveError(
            f"{printable(path)}: cannot be unpacked; it is damaged or encrypted, or the disk is "
            "full"
        ) from error


def _write(members: Iterator[Member], folder: Path, limit: int) -> None:
    folder.mkdir(parents=True)  # also for an archive without a file
    left = limit
    for count, (name, content) in enumerate(members, start=1):
        if count > MAX_FILES:
            raise ArchiveError(f"the archive has more than {MAX_FILES:,} files")
        target = folder.joinpath(*_safe_parts(name))
        if target.exists():
            raise ArchiveError(f"the archive names {printable(name)} twice; pack each file once")
        target.parent.mkdir(parents=True, exist_ok=True)
        with content, target.open("xb") as file:
            while chunk := content.read(CHUNK):
                left -= len(chunk)
                if left < 0:
                    raise ArchiveError(
                        f"the archive unpacks to more than {limit / 2**20:,.0f} MiB, {MAX_RATIO} "
                        "times its size or 20 GiB: photographs do not; it looks like a zip bomb"
                    )
                with writing(folder):
                    file.write(chunk)
                    file.flush()  # here, where it is not taken for a damaged archive


def _safe_parts(name: str) -> tuple[str, ...]:
    """The parts of a member's name; raises ArchiveError for one that leads elsewhere."""
    path = PurePosixPath(name.replace("\\", "/"))
    bad = path.is_absolute() or ".." in path.parts or not path.parts
    if bad or any(":" in part or "\0" in part for part in path.parts):
        raise ArchiveError(f"the archive names {name!r}, which leads out of its folder")
    if any(len(os.fsencode(part)) > MAX_NAME for part in path.parts):
        raise ArchiveError(
            f"the archive has a name of more than {MAX_NAME} bytes: {printable(name[:40])}…"
        )
    return path.parts


@contextmanager
def _members(path: Path, folder: Path) -> Iterator[Iterator[Member]]:
    """Names and contents of the plain files in an archive."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as zipped:
            yield _of_zip(zipped)
    else:
        with tarfile.open(path) as tarred:
            yield _of_tar(tarred, folder)


def _of_zip(archive: zipfile.ZipFile) -> Iterator[Member]:
    for info in archive.infolist():
        if (info.external_attr >> 16) & 0o170000 == 0o120000:
            raise ArchiveError(f"the archive has a link, {info.filename!r}; pack the files instead")
        if not info.is_dir():
            yield info.filename, archive.open(info)


def _of_tar(archive: tarfile.TarFile, folder: Path) -> Iterator[Member]:
    for info in archive:
        if info.isdir():
            continue
        try:
            tarfile.data_filter(info, str(folder))  # Python's own guard, beside ours
        except tarfile.FilterError as error:
            raise ArchiveError(
                f"the archive has {info.name!r}, which leads out of its folder or is a link or "
                "device; pack files only"
            ) from error
        content = archive.extractfile(info) if info.isfile() else None
        if content is None:
            raise ArchiveError(f"the archive has a link or device, {info.name!r}; pack files only")
        yield info.name, content
