"""A disturbed sweep ends with the table of an undisturbed one; a lost cell is named."""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from pandas.testing import assert_frame_equal
from sweep_jobs import CELLS, LAST, caching, deadly, fragile, job

from tlcourse.advice.sweeps import Report, read_results, sweep
from tlcourse.errors import SweepError
from tlcourse.studies import STUDIES

SCRIPT = Path(__file__).with_name("sweep_jobs.py")


@pytest.fixture(autouse=True)
def environment():
    """Dask sets OMP_NUM_THREADS for its workers and leaves it there, for every later test."""
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture(scope="module")
def undisturbed() -> pd.DataFrame:
    """What a plain loop gives, without any of the sweep's code, on one thread as workers have."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows = [{**cell, **job(**cell)} for cell in CELLS]
    torch.set_num_threads(threads)
    key = [json.dumps(cell, sort_keys=True) for cell in CELLS]
    return pd.DataFrame(rows, index=key).sort_index().reset_index(drop=True)


def count(path: Path, what: str) -> int:
    try:
        with sqlite3.connect(path) as database:
            return database.execute(f"SELECT {what} FROM cells").fetchone()[0] or 0
    except sqlite3.OperationalError:
        return 0


def finished(path: Path) -> int:
    return count(path, "sum(state = 'done')")


def handed_out(path: Path) -> int:
    return count(path, "sum(started)")


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "nothing came of it in two minutes"
        time.sleep(0.01)


def kill_after(path: Path, cells: int) -> None:
    """Start a sweep and SIGKILL it once ``cells`` are done and one of its own is out.

    The sweep before may have got further than its own number while the signal was on its way:
    this one must have begun all the same. Its workers must not outlive it.
    """
    before = handed_out(path)
    held = os.environ | {"WAIT_FOR": str(path.with_name("never"))}
    process = subprocess.Popen([sys.executable, SCRIPT, path], stdout=subprocess.DEVNULL, env=held)
    sweeping = psutil.Process(process.pid)
    wait_until(
        lambda: finished(path) >= cells and handed_out(path) > before and sweeping.children()
    )
    workers = sweeping.children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive


def test_a_sweep_killed_three_times_ends_with_the_same_table(tmp_path, undisturbed):
    path = tmp_path / "results.sqlite"
    generator = random.Random(os.getpid())  # another place each time
    for wanted in sorted(generator.sample(range(1, len(CELLS) - len(LAST)), 3)):
        kill_after(path, wanted)
        assert wanted <= finished(path) < len(CELLS)
    before = finished(path)
    report = sweep(job, CELLS, path)
    assert (report.kept, report.done) == (before, len(CELLS) - before)
    assert report.interrupted  # those that were out when it was killed are named
    assert_frame_equal(read_results(path), undisturbed, check_exact=True)
    assert sweep(job, CELLS, path) == Report(len(CELLS), 0, (), ())


def test_a_dask_cluster_that_loses_a_worker_gives_the_same_table(
    tmp_path, undisturbed, monkeypatch
):
    distributed = pytest.importorskip("distributed")
    path = tmp_path / "results.sqlite"
    monkeypatch.setenv("WAIT_FOR", str(tmp_path / "lost"))
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        (victim, *_) = client.run(os.getpid).values()
        command = [sys.executable, SCRIPT, path, "dask", cluster.scheduler_address]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        wait_until(lambda: finished(path) >= 10)
        assert finished(path) < len(CELLS)
        os.kill(victim, signal.SIGKILL)
        (tmp_path / "lost").touch()
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert_frame_equal(read_results(path), undisturbed, check_exact=True)


@pytest.mark.parametrize("name", ["race_tasks", "heads"])
def test_recorded_cells_stay_valid_wherever_their_function_lies(name, tmp_path):
    study = STUDIES[name]
    copy = Path(shutil.copy(study.path, tmp_path))
    kept = Report(len(study.cells), 0, (), ())
    assert sweep(study.run, study.cells, copy) == kept
    with sqlite3.connect(copy) as database:  # as older files have it, by a module that is gone
        database.execute("UPDATE sweep SET function = 'tlcourse.moved.' || function")
    assert sweep(study.run, study.cells, copy) == kept
    with pytest.raises(SweepError, match=rf"holds results of .*{study.run.__name__}, not of job"):
        sweep(job, CELLS, copy)


@pytest.mark.unchecked
def test_numpys_numbers_are_pythons_and_a_function_without_a_name_is_refused(tmp_path):
    cell = {"images": np.int64(50), "lr": np.float32(0.5), "seed": np.int64(0)}
    path = tmp_path / "numpy.sqlite"
    assert sweep(job, [cell], path, workers=1).done == 1
    assert sweep(job, [{"images": 50, "lr": 0.5, "seed": 0}], path, workers=1).kept == 1
    for nameless in (lambda: {"a": 1}, partial(job, lr=0.1)):
        with pytest.raises(SweepError, match="give it one by def"):
            sweep(nameless, [], tmp_path / "nameless.sqlite")


def test_a_dask_worker_with_two_threads_is_refused(tmp_path):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
        ) as cluster,
        pytest.raises(SweepError, match="nthreads 1"),
    ):
        sweep(job, CELLS, tmp_path / "r", backend="dask", address=cluster.scheduler_address)


def test_cells_that_raise_or_lose_their_worker_are_tried_again_and_named(tmp_path):
    cells = [{"number": number, "folder": str(tmp_path)} for number in range(12)]
    report = sweep(fragile, cells, tmp_path / "results.sqlite")
    assert report.done == 12
    numbers = {json.loads(key)["number"] for key in report.retried}
    assert {3, 5} <= numbers < set(range(12))
    table = read_results(tmp_path / "results.sqlite")
    assert sorted(table["square"]) == [n**2 for n in range(12)]


def test_a_cell_that_kills_every_worker_is_reported_and_the_others_are_done(tmp_path):
    cells = [{"number": number} for number in range(6)]
    with pytest.raises(SweepError, match=r"(?s)1 of 6 cells.*worker died") as failure:
        sweep(deadly, cells, tmp_path / "results.sqlite")
    assert '{"number": 2}' in str(failure.value)
    assert sorted(read_results(tmp_path / "results.sqlite")["number"]) == [0, 1, 3, 4, 5]


def test_workers_keep_what_they_cached(tmp_path):
    """Not one worker after the other that computes the same images and features again."""
    sweep(caching, [{"number": number} for number in range(8)], tmp_path / "cells.sqlite")
    assert read_results(tmp_path / "cells.sqlite")["worker"].nunique() == 2


@pytest.mark.unchecked
def test_what_cannot_be_swept_is_said_before_anything_runs(tmp_path, monkeypatch):
    path = tmp_path / "results.sqlite"
    sweep(deadly, [{"number": 1}], path)
    with pytest.raises(SweepError, match="holds results of .*deadly, not of .*fragile"):
        sweep(fragile, [], path)
    with pytest.raises(SweepError, match="no backend 'dusk'.*did you mean dask"):
        sweep(deadly, [], path, backend="dusk")
    distributed = pytest.importorskip("distributed")
    impatient = partial(distributed.Client, timeout=0.2)
    monkeypatch.setattr(distributed, "Client", lambda address, timeout: impatient(address))
    with pytest.raises(SweepError, match="no dask scheduler answers"):
        sweep(deadly, [{"number": 3}], path, backend="dask", address="tcp://127.0.0.1:9")
    (tmp_path / "notes.txt").write_text("not a database, but long enough to be looked at" * 50)
    with pytest.raises(SweepError, match="not a file of results"):
        sweep(deadly, [], tmp_path / "notes.txt")
    with pytest.raises(FileNotFoundError, match="no sweep"):
        read_results(tmp_path / "nowhere.sqlite")
    with (
        sqlite3.connect(tmp_path / ".results.sqlite.lock") as lock,
        pytest.raises(SweepError, match="another sweep is writing"),
    ):
        lock.execute("BEGIN EXCLUSIVE")
        sweep(deadly, [], path)
