"""Seeds, profile, progress and files that are never half written."""

import random

import jaxtyping
import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from tlcourse.files import replacing
from tlcourse.runtime import (
    BUILD_DIR,
    REPO_DIR,
    one_blas_thread,
    profile,
    progress,
    seed_everything,
)


def draw():
    return random.random(), np.random.rand(), torch.rand(1).item()


def test_one_seed_for_all_generators():
    seed_everything(5)
    first = draw()
    seed_everything(5)
    assert draw() == first
    seed_everything(6)
    assert all(a != b for a, b in zip(draw(), first, strict=True))


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range(seed):
    with pytest.raises(ValueError, match=r"expected 0 <= seed"):
        seed_everything(seed)


def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def test_linear_algebra_on_one_thread_and_back():
    before, for_torch = blas_threads(), torch.get_num_threads()
    with one_blas_thread():
        assert blas_threads() == [1] * len(before) and before
        assert torch.get_num_threads() == for_torch
    assert blas_threads() == before


def test_profile_is_quick_unless_full_is_asked_for(monkeypatch):
    monkeypatch.delenv("TLCOURSE_PROFILE", raising=False)
    assert profile() == "quick"
    monkeypatch.setenv("TLCOURSE_PROFILE", "full")
    assert profile() == "full"
    monkeypatch.setenv("TLCOURSE_PROFILE", "fast")
    with pytest.raises(ValueError, match="'fast'; expected 'quick' or 'full'"):
        profile()


@pytest.mark.parametrize("switch", ["0", "1"])
def test_progress_hands_on_every_item(monkeypatch, capfd, switch):
    monkeypatch.setenv("TLCOURSE_PROGRESS", switch)
    assert list(progress(range(3), desc="steps")) == [0, 1, 2]
    assert ("steps" in capfd.readouterr().err) == (switch == "1")


def test_replacing_is_all_or_nothing(tmp_path):
    path = tmp_path / "new folder" / "result.txt"
    with replacing(path) as temporary:
        temporary.write_text("one")
        assert not path.exists()
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "one"
    assert [p.name for p in path.parent.iterdir()] == ["result.txt"]
    (tmp_path / "usual.txt").touch()
    assert path.stat().st_mode == (tmp_path / "usual.txt").stat().st_mode


def test_signatures_are_checked_here():
    with pytest.raises(jaxtyping.TypeCheckError, match="seed"):
        seed_everything("one")


@pytest.mark.unchecked
def test_a_test_may_switch_the_check_off():
    with pytest.raises(TypeError, match="not supported"):
        seed_everything("one")
    assert BUILD_DIR.parent != REPO_DIR
