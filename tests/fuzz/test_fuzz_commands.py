"""Command lines of all kinds: what is refused is refused before anything is read or written."""

import inspect
import io
import math
from contextlib import chdir, redirect_stderr, redirect_stdout
from unittest import mock

from fuzzing import fuzz
from hypothesis import example, given
from hypothesis import strategies as st

from tlcourse import studies
from tlcourse.cli import main
from tlcourse.own_images import model_folder, source_folder

FUNCTIONS = {  # what a command calls, and the numbers that it may get
    "advise": (source_folder, "advise_folder"),
    "fit": (source_folder, "fit_folder"),
    "predict": (model_folder, "predict_files"),
    "explain": (model_folder, "explain_files"),
    "export": (model_folder, "export_folder"),
    "study": (studies, "run_study"),
}
LEAST = {"image_size": 1, "minutes": 0, "seed": 0, "workers": 1}
WORDS = st.sampled_from(
    ["--output", "--image-size", "--minutes", "--seed", "--strategy", "--backbone", "--score",
     "--format", "--workers", "onnx", "probe", "heads", "images", "out", "-1", "0", "1", "2.5",
     "64", "nan", "inf", "1e400", "99999999999", "٣", "", " ", "-", "--", "@x", "\0", "\udcff"]
)  # fmt: skip


class Called(Exception):
    """A command has read its line and does its work."""


@fuzz
@given(st.sampled_from(sorted(FUNCTIONS)), st.lists(WORDS | st.text(max_size=5), max_size=9))
@example("advise", ["images", "--image-size", "٣"])
@example("fit", ["images", "--output", "out", "--minutes", "inf"])
@example("study", ["heads", "--workers", "1"])
@example("predict", ["out", "images", "--score"])
def test_a_line_is_refused_or_understood(tmp_path_factory, command, words):
    module, name = FUNCTIONS[command]
    original = getattr(module, name)

    def work(*positional, **named):
        given = inspect.signature(original).bind(*positional, **named).arguments
        for argument, least in LEAST.items():
            value = given.get(argument)
            assert value is None or (least <= value and math.isfinite(value)), argument
        raise Called

    work.__signature__ = inspect.signature(original)
    work.__annotations__ = original.__annotations__
    folder = tmp_path_factory.mktemp("f")
    told = io.TextIOWrapper(io.BytesIO(), errors="backslashreplace")  # as Python's own is
    with (
        chdir(folder),
        mock.patch.object(module, name, work),
        redirect_stderr(told),
        redirect_stdout(told),
    ):
        try:
            code = main([command, *words])
        except Called:
            code = 0
        except SystemExit as stopped:  # argparse's refusal, or its help
            code = stopped.code
    told.seek(0)
    assert "Traceback" not in (text := told.read())
    assert text or not code
    assert not list(folder.iterdir())
