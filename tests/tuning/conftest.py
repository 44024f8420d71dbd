"""Processes beside the test's own."""

import multiprocessing
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess

import pytest
import torch


@pytest.fixture
def start() -> Callable[..., BaseProcess]:
    """Start a module's function in a process of its own, on one thread.

    On Linux it is a copy of this process, which has imported everything. The threads of OpenMP
    are not copied: a second one would be waited for in vain.
    """
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")

    def start(function: Callable[..., object], *arguments: object) -> BaseProcess:
        process = context.Process(target=_on_one_thread, args=(function, *arguments))
        process.start()
        return process

    return start


def _on_one_thread(function: Callable[..., object], *arguments: object) -> None:
    torch.set_num_threads(1)
    function(*arguments)
