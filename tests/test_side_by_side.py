"""Calls side by side: the order of the calls, one thread each, and an error that is not lost."""

import os

import joblib
import pytest
import torch

from tlcourse.side_by_side import side_by_side


def thread_and_sum(a: int, b: int) -> tuple[int, int, str, int]:
    return torch.get_num_threads(), a + b, os.environ["TLCOURSE_PROGRESS"], os.getpid()


def test_results_are_in_the_order_of_the_calls_each_on_one_thread():
    results = side_by_side(thread_and_sum, ((i, 10 * i) for i in range(5)))
    assert [total for _, total, _, _ in results] == [0, 11, 22, 33, 44]
    assert {(threads, bars) for threads, _, bars, _ in results} == {(1, "0")}
    if joblib.cpu_count() > 1:
        assert os.getpid() not in {process for *_, process in results}


def test_a_function_of_a_notebook_will_do_and_its_error_is_raised_here():
    limit = 2

    def below(number: int) -> int:  # not importable: sent as it is
        if number >= limit:
            raise ValueError(f"{number} is not below {limit}")
        return number

    assert side_by_side(below, [(0,), (1,)]) == [0, 1]
    with pytest.raises(ValueError, match="3 is not below 2"):
        side_by_side(below, [(0,), (3,)])


def test_on_a_gpu_the_calls_run_here_one_after_another(monkeypatch):
    monkeypatch.setattr("tlcourse.side_by_side.device", lambda: torch.device("cuda"))
    here = os.getpid()
    assert side_by_side(lambda: os.getpid(), [(), ()]) == [here, here]
