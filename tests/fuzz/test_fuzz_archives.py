"""Archives with any names, kinds of members and damage: nothing outside, nothing left over."""

import io
import tarfile
import zipfile
from pathlib import Path

from fuzzing import fuzz
from hypothesis import given
from hypothesis import strategies as st

from tlcourse.datasets import unpack
from tlcourse.errors import ArchiveError

PARTS = ["ants", "1.png", "..", ".", "", "C:", "ü", "u\u0308", "x" * 256, "a\\b", " ", "~", "/"]
NAMES = st.lists(st.sampled_from(PARTS) | st.text(max_size=6), min_size=1, max_size=4)
KINDS = {
    "file": tarfile.REGTYPE,
    "folder": tarfile.DIRTYPE,
    "link": tarfile.SYMTYPE,
    "hard link": tarfile.LNKTYPE,
    "device": tarfile.CHRTYPE,
    "pipe": tarfile.FIFOTYPE,
}
MEMBERS = st.lists(
    st.tuples(
        NAMES.map("/".join),
        st.sampled_from(["file"] * 8 + list(KINDS)),
        st.binary(max_size=40),
    ),
    max_size=5,
)


def packed(path: Path, members, form: str) -> None:
    if form == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, kind, content in members:
                info = zipfile.ZipInfo(name + "/" * (kind == "folder"))
                info.external_attr = (0o120777 if "link" in kind else 0o100644) << 16
                archive.writestr(info, content)
        return
    with tarfile.open(path, "w:gz", errors="surrogateescape") as archive:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = KINDS[kind], "../../outside"
            info.size = len(content) if kind == "file" else 0
            archive.addfile(info, io.BytesIO(content))


def tried(archive: Path, folder: Path) -> str:
    """Why the archive is refused, "" where it was unpacked."""
    before = sorted(folder.parent.rglob("*"))
    try:
        unpack(archive, folder)
    except ArchiveError as error:
        assert sorted(folder.parent.rglob("*")) == before, "something is left over"
        assert "\n" not in str(error)
        return str(error)
    others = {p for p in folder.parent.rglob("*") if not p.is_relative_to(folder)}
    assert others == set(before)
    assert all(p.is_dir() or p.is_file() for p in folder.rglob("*"))
    assert not any(p.is_symlink() for p in folder.rglob("*"))
    return ""


@fuzz
@given(MEMBERS, st.sampled_from(["zip", "tar"]))
def test_members_come_out_under_their_names_or_the_archive_is_refused(
    tmp_path_factory, members, form
):
    root = tmp_path_factory.mktemp("f")
    archive = root / "archive"
    try:
        packed(archive, members, form)
    except (UnicodeEncodeError, ValueError):
        return  # a name that the format has no bytes for
    refused = tried(archive, root / "out")
    if refused:
        return
    files = [(name, content) for name, kind, content in members if kind == "file"]
    kinds = {kind for _, kind, _ in members}
    assert not any("link" in kind for kind in kinds)
    assert form == "zip" or kinds <= {"file", "folder"}  # a zip knows no devices
    written = sorted(p.read_bytes() for p in (root / "out").rglob("*") if p.is_file())
    if form == "tar":  # in a zip a name that ends in a slash is a folder's
        assert written == sorted(content for _, content in files)


@fuzz
@given(
    st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), max_size=20),
    st.integers(0, 600),
    st.sampled_from(["zip", "tar"]),
)
def test_a_damaged_archive_is_unpacked_or_refused(tmp_path_factory, changes, end, form):
    root = tmp_path_factory.mktemp("f")
    archive = root / "archive"
    packed(archive, [(f"ants/{i}.png", "file", bytes(range(99))) for i in range(3)], form)
    content = bytearray(archive.read_bytes())
    for place, byte in changes:
        content[place % len(content)] = byte
    archive.write_bytes(content[: end if end > 300 else None])
    tried(archive, root / "out")
