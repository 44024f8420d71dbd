"""What is typed on the command line reaches the function; what is not is the function's default."""

import functools
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tlcourse import studies
from tlcourse.advice.sweeps import Report
from tlcourse.cli import main
from tlcourse.own_images import source_folder


def called(
    monkeypatch: pytest.MonkeyPatch, module: object, name: str, *, gives: object = None
) -> dict[str, object]:
    """The arguments with which a function of a module will be called, which then does nothing."""
    seen: dict[str, object] = {}

    @functools.wraps(getattr(module, name))  # its signature is where the defaults are read
    def fake(*positional: object, **named: object) -> object:
        seen.update(named, positional=positional)
        return gives

    monkeypatch.setattr(module, name, fake)
    return seen


def test_fit_hands_over_what_is_typed_and_its_own_defaults_otherwise(monkeypatch):
    seen = called(monkeypatch, source_folder, "fit_folder")
    assert main(["fit", "images", "--output", "out", "--backbone", "resnet18", "--seed", "3"]) == 0
    options = {"backbone_name": "resnet18", "seed": 3}
    defaults = {"strategy": None, "image_size": None, "minutes": 10.0}
    assert seen == {"positional": (Path("images"), Path("out")), **options, **defaults}
    typed = ["--image-size", "96", "--minutes", "2.5", "--strategy", "by_depth"]
    main(["fit", "images", "--output", "out", *typed])
    assert (seen["image_size"], seen["minutes"], seen["strategy"]) == (96, 2.5, "by_depth")


def test_study_hands_over_what_is_typed_and_its_own_defaults_otherwise(monkeypatch, capsys):
    seen = called(monkeypatch, studies, "run_study", gives=Report(3, 2, ("a",), ()))
    assert main(["study", "heads"]) == 0
    assert "heads: 2 cells now, 3 before; 1 had been interrupted, 0 " in capsys.readouterr().out
    defaults = {"workers": 2, "backend": "processes", "address": None}
    assert seen == {"positional": (studies.STUDIES["heads"],), **defaults}
    cluster = {"workers": 3, "backend": "dask", "address": "tcp://here:1"}
    typed = [text for name, value in cluster.items() for text in (f"--{name}", str(value))]
    assert main(["study", "heads", "--folder", "mine", *typed]) == 0
    mine = replace(studies.STUDIES["heads"], folder=Path("mine"))
    assert seen == {"positional": (mine,), **cluster}
    assert mine.path == Path("mine", "cells.sqlite")


@pytest.mark.parametrize(
    "typed",
    [
        "advise images --image-size -5",
        "fit images --output out --image-size 0",
        "fit images --output out --image-size 2.5",
        "fit images --output out --minutes nan",
        "fit images --output out --minutes -1",
        "advise images --seed -1",
        "advise images --seed 4294967296",
        "study heads --workers 0",
        "study heads --cell 2.5",
        "study heads --seed -1",
    ],
)
def test_a_number_out_of_its_range_is_named_before_anything_is_read(typed, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(typed.split())
    assert stopped.value.code == 2
    *_, flag, value = typed.split()
    error = capsys.readouterr().err
    assert value in error and flag in error


def test_help_tells_the_defaults_and_the_list_of_commands_loads_nothing(capsys):
    with pytest.raises(SystemExit):
        main(["study", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "--backend {processes,dask,ray}" in text and "(default: processes)" in text
    assert "processes on this machine (default: 2)" in text
    script = (
        "import sys\nfrom tlcourse.cli import main\ntry: main(['--help'])\n"
        "finally: assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


@pytest.mark.parametrize("command", ["advise", "fit --output out"])
def test_an_archive_of_another_kind_is_refused_before_anything_is_loaded(
    monkeypatch, capsys, tmp_path, command
):
    monkeypatch.chdir(tmp_path)
    Path("photographs.7z").write_bytes(b"7z\xbc\xaf\x27\x1c")
    name, *options = command.split()
    assert main([name, "photographs.7z", *options]) == 1
    assert "photographs.7z is neither a folder nor a zip or tar" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["photographs.7z"]
