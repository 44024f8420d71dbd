"""What is in an output folder of fit is ours, and one process's; nothing else is touched."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlcourse.errors import OutputError
from tlcourse.networks.backbones import load_backbone
from tlcourse.own_images import source_folder
from tlcourse.own_images.source_folder import fit_folder


@pytest.fixture
def images(tmp_path) -> Path:
    generator = np.random.default_rng(0)
    for number in range(40):
        path = tmp_path / "images" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
    return tmp_path / "images"


@pytest.fixture
def begin(monkeypatch):
    """Begin a fit, and do what is asked for when the images are read."""
    small = load_backbone("tlcourse/resnet20", pretrained=False)
    monkeypatch.setattr(source_folder, "load_backbone", lambda name: small)

    def fit(source: Path, output: Path, act, **options) -> None:
        fit_folder(source, output, **options, image_size=32, say=lambda line: act())

    return fit


def interrupt():
    raise KeyboardInterrupt


def test_a_second_fit_into_an_output_is_refused_while_the_first_runs(images, tmp_path, begin):
    def again():
        with pytest.raises(OutputError, match="another fit is writing into .*wait until it ends"):
            begin(images, tmp_path / "out", interrupt)
        interrupt()

    with pytest.raises(KeyboardInterrupt):
        begin(images, tmp_path / "out", again)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["started.json"]


def test_a_fit_that_was_killed_before_it_began_is_no_obstacle(images, tmp_path, begin):
    output = tmp_path / "out"
    (output / "checkpoints" / "head_first").mkdir(parents=True)
    left = [output / f".started.json.{'0' * 32}.partial", output / ".lock"]
    for path in left:
        path.touch()
    with pytest.raises(OutputError, match="not empty"):  # for what else is there
        begin(images, output, interrupt)
    shutil.rmtree(output / "checkpoints")
    with pytest.raises(KeyboardInterrupt):
        begin(images, output, interrupt)
    assert not any(path.exists() for path in left)


@pytest.mark.parametrize("content", ["", "[]", '{"mine": 1}', "no JSON"])
def test_a_users_own_started_json_is_no_mark_of_ours(images, tmp_path, begin, content):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "started.json").write_text(content)
    with pytest.raises(OutputError, match="not empty; nothing in it|with other images or options"):
        begin(images, tmp_path / "out", interrupt)
    assert (tmp_path / "out" / "started.json").read_text() == content


def test_what_a_user_puts_there_meanwhile_stays_when_the_fit_fails(images, tmp_path, begin):
    def fail():
        (tmp_path / "out" / "notes.txt").write_text("mine")
        raise RuntimeError("later")

    with pytest.raises(RuntimeError, match="later"):
        begin(images, tmp_path / "out", fail)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["notes.txt"]


def test_an_archive_that_was_changed_is_not_gone_on_with(images, tmp_path, begin):
    archive = shutil.make_archive(str(tmp_path / "a"), "zip", images)
    with pytest.raises(KeyboardInterrupt):
        begin(Path(archive), tmp_path / "out", interrupt)
    with pytest.raises(KeyboardInterrupt):  # the same goes on
        begin(Path(archive), tmp_path / "out", interrupt)
    shutil.rmtree(images / "b")
    shutil.copytree(images / "a", images / "c")
    shutil.make_archive(str(tmp_path / "a"), "zip", images)
    with pytest.raises(OutputError, match="with other images or options"):
        begin(Path(archive), tmp_path / "out", interrupt)


def test_what_a_failed_fit_wrote_is_gone_when_another_begins_there(images, tmp_path, begin):
    def fail():
        raise RuntimeError("later")

    output = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        begin(images, output, interrupt)
    (output / "checkpoints").mkdir()
    (output / "model.onnx").touch()
    with pytest.raises(RuntimeError):
        begin(images, output, fail)
    assert (output / "model.onnx").exists()  # the same call would go on
    with pytest.raises(KeyboardInterrupt):
        begin(images, output, interrupt, seed=1)
    assert [path.name for path in output.iterdir()] == ["started.json"]
