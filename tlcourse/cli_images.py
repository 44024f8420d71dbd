"""The commands for your own images (advise, fit, predict, explain, export) and for sweeps."""

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def add_commands(commands: Any) -> None:
    """Add the subcommands to those of ``tlcourse``."""
    # An option that is not given stays away, so that the function's own default holds.
    sparse = {"argument_default": argparse.SUPPRESS}
    advise = commands.add_parser(
        "advise", help="which strategy fits your images, and why", **sparse
    )
    advise.set_defaults(run=_advise)
    fit = commands.add_parser(
        "fit", help="train, test, explain and export a model on your images", **sparse
    )
    fit.add_argument("--output", type=Path, required=True, help="a new folder for the model")
    fit.add_argument("--strategy", help="instead of the advised one")
    fit.set_defaults(run=_fit)
    for command in (advise, fit):
        source = "one subfolder a class, or a zip or tar"
        command.add_argument("source", metavar="folder", type=Path, help=source)
        command.add_argument("--backbone", help="a pretrained network; efficientnet_lite0")
        command.add_argument("--image-size", type=int, help="in pixels; default: the backbone's")
        command.add_argument("--minutes", type=float, help="to train, at most; 1")
        command.add_argument("--seed", type=int, help="of split and training; 0")

    predict = commands.add_parser("predict", help="what a model says of images, as CSV")
    predict.add_argument("--score", action="store_true", help="folders name the classes: accuracy")
    predict.set_defaults(run=_predict)
    explain = commands.add_parser("explain", help="where in the images a model sees its answer")
    explain.add_argument("--output", type=Path, required=True, help="a new folder for the pictures")
    explain.set_defaults(run=_explain)
    export = commands.add_parser("export", help="write a model as ONNX or for torch.export.load")
    export.add_argument("--format", choices=("onnx", "torch"), required=True)
    export.set_defaults(run=_export)
    for command in (predict, explain, export):
        command.add_argument("model", type=Path, help="the output folder of fit")
    for command in (predict, explain):
        command.add_argument("images", type=Path, help="an image, or a folder of images")

    cell = commands.add_parser("cell", help="one cell of the matrix, also under torchrun")
    cell.add_argument("dataset", help="scenes, or a data set's name")
    cell.add_argument("per_class", type=int, help="training images of each class")
    cell.add_argument("strategy")
    cell.add_argument("--backbone", default="efficientnet_lite0")
    cell.add_argument("--seed", type=int, default=0)
    cell.add_argument("--image-size", type=int, default=64)
    cell.add_argument("--steps", type=int, default=120)
    cell.set_defaults(run=_cell)

    sweep = commands.add_parser("sweep", help="measure the matrix of data, sizes and strategies")
    sweep.add_argument("folder", type=Path, help="for the results; a sweep there goes on")
    names = ("quick", "laptop", "full")
    sweep.add_argument("--matrix", dest="name", choices=names, default="laptop")
    sweep.add_argument("--workers", type=int, default=2, help="processes on this machine; 2")
    sweep.add_argument("--backend", choices=("processes", "dask", "ray"), default="processes")
    sweep.add_argument("--address", help="of the dask scheduler or ray cluster")
    sweep.set_defaults(run=_sweep)


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """The options as arguments of the function that the command calls, which have their names."""
    return {name: v for name, v in vars(options).items() if name not in ("command", "run")}


def _advise(options: argparse.Namespace) -> int:
    from tlcourse.own_images.model_folder import advise_folder

    images, advice = advise_folder(**_given(options))
    for line in images.findings:
        print(f"note: {line}")
    print(advice)
    print(advice.table.round(3).to_string())
    return 0


def _fit(options: argparse.Namespace) -> int:
    from tlcourse.own_images.model_folder import fit_folder

    fit_folder(**_given(options))
    print(f"the model, its card and the report are in {options.output}")
    return 0


def _predict(options: argparse.Namespace) -> int:
    from tlcourse.own_images.model_folder import predict_files

    answers = predict_files(options.model, options.images)
    _print_left_out(answers.unreadable)
    table = answers.table if options.score else answers.table.drop(columns="truth")
    table.to_csv(sys.stdout, index=False, float_format="%.4f")
    if options.score:
        accuracy = answers.accuracy
        if answers.unscored:
            print(
                "not scored, as in no folder named after a class of the model: "
                f"{len(answers.unscored)}, such as {answers.unscored[0]}",
                file=sys.stderr,
            )
        print(f"accuracy {accuracy:.4f}")
    return 0


def _print_left_out(lines: Iterable[str]) -> None:
    for line in lines:
        print(f"left out: {line}", file=sys.stderr)


def _explain(options: argparse.Namespace) -> int:
    from tlcourse.own_images.model_folder import explain_files

    written, unreadable = explain_files(options.model, options.images, options.output)
    _print_left_out(unreadable)
    print(f"in {options.output}: {len(written)} {'picture' if len(written) == 1 else 'pictures'}")
    return 0


def _export(options: argparse.Namespace) -> int:
    from tlcourse.own_images.model_folder import export_folder

    print(export_folder(options.model, options.format))
    return 0


def _cell(options: argparse.Namespace) -> int:
    from tlcourse.advice.laboratory import run_cell
    from tlcourse.tuning.data_parallel import is_first, joined

    with joined():
        result = run_cell(**_given(options))
        if is_first():
            print(json.dumps(result))
    return 0


def _sweep(options: argparse.Namespace) -> int:
    from tlcourse.advice.laboratory import run_matrix

    reports = run_matrix(**_given(options))
    for name, report in zip(("tasks measured", "cells trained"), reports, strict=True):
        print(
            f"{name}: {report.done} now, {report.kept} before; {len(report.interrupted)} had been "
            f"interrupted, {len(report.retried)} were tried again"
        )
    return 0
