"""A short run of ``kills.py``, whose long one is by hand; disks that are full or take no file."""

import errno
import os
import shutil
import sqlite3
from pathlib import Path

import pytest
import torch
from kill_jobs import KINDS, cell, fill_cache, fit_source, images_in, partials, state, sweep
from kills import kill_often

from tlcourse.advice import sweeps
from tlcourse.cli import main
from tlcourse.errors import OutputError
from tlcourse.networks.backbones import load_backbone
from tlcourse.own_images import export


@pytest.fixture(scope="module")
def material(tmp_path_factory) -> Path:
    """Images, and an untrained model of their classes."""
    folder = tmp_path_factory.mktemp("material")
    images_in(folder)
    (folder / "model").mkdir()
    backbone = load_backbone("tlcourse/resnet20", pretrained=False, num_classes=2)
    sizes = {"image_size": 32, "resize_size": 32, "interpolation": "bilinear"}
    export.save_model(backbone, folder / "model", {"classes": ["above", "below"], **sizes})
    return folder


@pytest.fixture
def disk(monkeypatch):
    """A disk that takes no file after the first few, whatever way they come; ``room`` mends it."""

    class Disk:
        left = 0
        code = errno.ENOSPC

        def room(self) -> None:
            self.left = 10**9

    disk = Disk()

    def guarded(real):
        def move(source, target):
            disk.left -= 1
            if disk.left < 0:
                raise OSError(disk.code, os.strerror(disk.code), source)
            real(source, target)

        return move

    for name in ("replace", "rename"):
        monkeypatch.setattr(os, name, guarded(getattr(os, name)))
    monkeypatch.setenv("TLCOURSE_PROGRESS", "0")
    return disk


@pytest.mark.skipif(not hasattr(os, "fork"), reason="killed are forks of this process")
@pytest.mark.parametrize("kind", ["replacing", "cache", "checkpoint", "sweep"])
def test_what_is_killed_at_any_moment_ends_as_if_it_had_not_been(tmp_path, kind):
    kill_often([kind], 2, 0, tmp_path)


@pytest.mark.parametrize(
    ("kind", "taken", "code", "said"),
    [
        ("replacing", 3, errno.EROFS, r"file\.bin cannot be written \(Read-only.*name a folder"),
        ("checkpoint", 3, errno.ENOSPC, r"run\.pt cannot be written \(No space left.*make room"),
        ("cache", 3, errno.EDQUOT, r"03\.safetensors cannot be written .*make room"),
    ],
)
def test_a_disk_that_takes_no_more_is_named_and_the_work_goes_on_later(
    tmp_path, disk, kind, taken, code, said
):
    disk.left, disk.code = taken, code
    with pytest.raises(OutputError, match=said):
        KINDS[kind].job(tmp_path, tmp_path)
    assert not partials(tmp_path) and state(tmp_path)  # and what was there before is
    disk.room()
    KINDS[kind].job(tmp_path, tmp_path)


def test_a_fit_on_a_full_disk_keeps_its_last_epoch_and_its_mark(tmp_path, material, disk):
    disk.left = 5  # its mark, features and the first epochs at the first rate
    with pytest.raises(OutputError, match=r"phase0\.pt cannot be written"):
        fit_source("images", "head_first")(tmp_path, material)
    output = tmp_path / "out"
    assert (output / "checkpoints" / "head_first" / "3e-05 short" / "phase0.pt").is_file()
    assert not partials(output) and not (output / "model.json").exists()
    assert (output / "started.json").exists()  # the same call goes on


def test_pictures_are_all_there_or_none(tmp_path, material, disk, capsys):
    typed = ["explain", str(material / "model"), str(material / "images")]
    typed += ["--output", str(tmp_path / "new" / "why")]
    assert main(typed) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "why cannot be written (No space left" in error
    assert error.count("\n") == 1 and not state(tmp_path)
    disk.room()
    assert main(typed) == 0
    assert len(state(tmp_path)) == 40


def test_an_export_that_is_wrong_or_cannot_be_written_leaves_the_one_before(
    tmp_path, material, disk, monkeypatch
):
    class Other(torch.nn.Module):
        def forward(self, images):
            return images[:, :2, 0, 0].float()

    def exported(model, images):
        batch = torch.export.Dim("batch")
        return torch.export.export(Other(), (images[:2],), dynamic_shapes=({0: batch},))

    model = shutil.copytree(material / "model", tmp_path / "model")
    (model / "model.pt2").write_text("before")
    images = torch.zeros(3, 3, 32, 32, dtype=torch.uint8)
    monkeypatch.setattr(export, "_exported", exported)
    with pytest.raises(RuntimeError, match=r"model\.pt2 gives logits up to .* it was not written"):
        export.export_torch(model, images)
    monkeypatch.setattr(export, "_check", lambda *_: None)
    with pytest.raises(OutputError, match=r"model\.pt2 cannot be written"):
        export.export_torch(model, images)
    assert (model / "model.pt2").read_text() == "before" and not partials(model)


def test_a_sweep_on_a_full_disk_keeps_what_is_done_and_goes_on(tmp_path, monkeypatch):
    real = sqlite3.connect

    def small(path, **options):
        database = real(path, **options)
        if not str(path).endswith(".lock"):
            database.execute("PRAGMA max_page_count = 5")
        return database

    cells = [{"number": n, "note": "x" * 500} for n in range(15)]
    path = tmp_path / "results.sqlite"
    monkeypatch.setattr(sqlite3, "connect", small)
    with pytest.raises(OutputError, match=r"results\.sqlite cannot be written .*full\); make room"):
        sweeps.sweep(noted, cells, path, workers=1)
    monkeypatch.undo()
    kept = len(sweeps.read_results(path))
    assert 0 < kept < 15
    report = sweeps.sweep(noted, cells, path, workers=1)
    assert (report.kept, report.done) == (kept, 15 - kept)


def noted(*, number: int, note: str) -> dict[str, float]:
    return cell(number=number)


def test_a_folder_that_takes_no_results_is_named_by_the_sweep(tmp_path, monkeypatch):
    def closed(path, **options):
        raise unable

    try:
        sqlite3.connect(tmp_path / "nowhere" / "file")
    except sqlite3.OperationalError as error:
        unable = error
    monkeypatch.setattr(sqlite3, "connect", closed)
    with pytest.raises(OutputError, match=r"cannot be written \(unable to open .*name a folder"):
        sweep(tmp_path, tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_answers_that_cannot_be_written_are_an_error(material, monkeypatch, capsys):
    monkeypatch.setenv("TLCOURSE_PROGRESS", "0")
    with open("/dev/full", "w") as full:
        monkeypatch.setattr("sys.stdout", full)
        assert main(["predict", str(material / "model"), str(material / "images")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: the output cannot be written (No space left on device); make")


def test_what_a_killed_process_left_in_a_cache_goes_when_it_is_old(tmp_path):
    fill_cache(tmp_path, tmp_path)
    left = tmp_path / "cache" / f".00.safetensors.{'0' * 32}.partial"
    left.touch()
    fill_cache(tmp_path, tmp_path)
    assert left.exists()  # another may be writing it
    os.utime(left, (0, 0))
    fill_cache(tmp_path, tmp_path)
    assert not left.exists()
