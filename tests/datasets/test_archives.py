"""Archives that a stranger sent."""

import io
import os
import sys
import tarfile
import zipfile

import pytest

from tlcourse.datasets import archives
from tlcourse.datasets.archives import as_folder, is_archive, unpack
from tlcourse.datasets.folders import load_folder
from tlcourse.errors import ArchiveError, DatasetError, OutputError


def zipped(path, files: dict[str, bytes]):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tarred(path, members: list[tarfile.TarInfo], content: bytes = b""):
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            member.size = len(content) if member.isreg() else 0
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize("make", ["zip", "tar"])
def test_plain_files_are_unpacked_under_their_names(tmp_path, make):
    names = ["ants/ein schöner Käfer 🐞.png", "bees/1.png"]
    if make == "zip":
        archive = zipped(tmp_path / "a.zip", dict.fromkeys(names, b"image"))
    else:
        archive = tarred(tmp_path / "a.tgz", [tarfile.TarInfo(n) for n in names], b"image")
    assert is_archive(archive) and not is_archive(tmp_path)
    unpack(archive, tmp_path / "out")
    found = {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.png")}
    assert found == set(names)
    with pytest.raises(ArchiveError, match="is there already"):
        unpack(archive, tmp_path / "out")


@pytest.mark.parametrize(
    "name", ["../evil.png", "/tmp/evil.png", "a/../../evil.png", "C:\\evil.png", "..\\evil.png"]
)
def test_a_name_that_leads_out_is_refused_and_nothing_is_left(tmp_path, name):
    inside = tmp_path / "inside"
    inside.mkdir()
    zip_file = zipped(tmp_path / "a.zip", {"ok.png": b"1", name: b"2"})
    tar_file = tarred(tmp_path / "a.tgz", [tarfile.TarInfo("ok.png"), tarfile.TarInfo(name)], b"2")
    for archive in (zip_file, tar_file):
        with pytest.raises(ArchiveError, match="leads out"):
            unpack(archive, inside / "out")
    assert list(inside.iterdir()) == [] and not list(tmp_path.rglob("evil*"))


def test_an_archive_without_files_and_names_in_another_encoding(tmp_path):
    with as_folder(zipped(tmp_path / "a.zip", {})) as folder:
        assert list(folder.iterdir()) == []
    assert not folder.exists()
    twice = tarred(tmp_path / "b.tgz", [tarfile.TarInfo("a.png")] * 2, b"1")
    with pytest.raises(ArchiveError, match="names a.png twice"):
        unpack(twice, tmp_path / "out")
    odd = tarred(tmp_path / "a.tgz", [tarfile.TarInfo("bees/\udce4.png")], b"1")
    try:
        with as_folder(odd) as folder:
            assert os.listdir(os.fsencode(folder / "bees")) == [b"\xe4.png"]
    except ArchiveError:  # a system whose names are UTF-8
        assert os.name == "nt" or sys.platform == "darwin"


def test_what_is_wrong_in_an_archive_is_told_by_its_name(tmp_path):
    outer = zipped(tmp_path / "outer.zip", {"inner.zip": b"PK"})
    said = f"{outer} has no class.*{outer}/inner.zip: lies outside"
    with pytest.raises(DatasetError, match=said), as_folder(outer) as folder:
        load_folder(folder)


def test_links_are_refused(tmp_path):
    link = tarfile.TarInfo("class/link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    info = zipfile.ZipInfo("class/link")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    for path in (tarred(tmp_path / "a.tgz", [link]), tmp_path / "a.zip"):
        with pytest.raises(ArchiveError, match="link"):
            unpack(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_bomb_is_stopped_by_what_comes_out_not_by_what_it_says(tmp_path):
    bomb = zipped(tmp_path / "bomb.zip", {"a.png": bytes(50_000_000)})
    limit = archives.MAX_RATIO * bomb.stat().st_size
    with pytest.raises(ArchiveError, match=f"more than {limit / 2**20:,.0f} MiB.* bomb"):
        unpack(bomb, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_too_many_files_long_names_and_damage_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_FILES", 3)
    many = zipped(tmp_path / "many.zip", {f"{i}.png": b"" for i in range(4)})
    long = zipped(tmp_path / "long.zip", {"x" * 300 + ".png": b""})
    whole = zipped(tmp_path / "whole.zip", {"a.png": bytes(range(256)) * 50})
    damaged = tmp_path / "damaged.zip"
    content = bytearray(whole.read_bytes())
    content[60:80] = bytes(20)
    damaged.write_bytes(content)
    for path, message in ((many, "more than 3"), (long, "255 bytes"), (damaged, "cannot be unpa")):
        with pytest.raises(ArchiveError, match=message):
            unpack(path, tmp_path / "out")


def test_what_reaches_a_limit_is_unpacked_and_one_more_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_FILES", 3)
    monkeypatch.setattr(archives, "MAX_BYTES", 30)
    names = ["a.png", "b.png", "x" * 251 + ".png"]  # 255 bytes
    unpack(zipped(tmp_path / "full.zip", dict.fromkeys(names, bytes(10))), tmp_path / "full")
    assert len(list((tmp_path / "full").iterdir())) == 3
    for files, message in (
        ({"a.png": bytes(31)}, "zip bomb"),
        ({"x" * 252 + ".png": b""}, "255 bytes"),
    ):
        with pytest.raises(ArchiveError, match=message):
            unpack(zipped(tmp_path / "more.zip", files), tmp_path / "more")


def test_a_disk_that_takes_no_more_is_not_taken_for_a_damaged_archive(tmp_path):
    resource = pytest.importorskip("resource")  # not on Windows
    archive = zipped(tmp_path / "a.zip", {"a.png": os.urandom(20_000)})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(OutputError, match="out cannot be written .*use a disk that"):
            unpack(archive, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not (tmp_path / "out").exists()


def test_a_damaged_archive_is_named_in_our_own_words(tmp_path):
    broken = tarred(tmp_path / "a.tgz", [tarfile.TarInfo("a.png")], b"1")
    broken.write_bytes(broken.read_bytes()[:40])
    with pytest.raises(ArchiveError, match="damaged or encrypted, or the disk is full") as caught:
        unpack(broken, tmp_path / "out")
    assert str(caught.value.__cause__) not in str(caught.value)
