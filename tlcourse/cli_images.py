"""The commands for your own images: advise, fit, predict, explain, export."""

import argparse
import inspect
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints


class Command(argparse.ArgumentParser):
    """A subcommand that declares its arguments when it is called, not before.

    Their types and defaults are those of functions whose import takes seconds.
    """

    declare: Callable[["Command"], None] | None = None

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's, once the arguments are declared."""
        if self.declare is not None:
            self.declare(self)
        return super().parse_known_args(args, namespace)

    def add_option(
        self, flag: str, function: Callable[..., Any], name: str, text: str, *, least: float = 0
    ) -> None:
        """An option for an argument of ``function``, with its type and default.

        A number is at least ``least``.
        """
        default = inspect.signature(function).parameters[name].default
        hint = get_type_hints(function)[name]
        if get_origin(hint) is Literal:
            accepted: dict[str, Any] = {"choices": get_args(hint)}
        else:  # int, or the int of int | None
            kind = next(t for t in (*get_args(hint), hint) if t is not NoneType)
            accepted = {"type": _number(kind, least) if kind in (int, float) else kind}
        told = text if default is None else f"{text} (default: {default})"
        self.add_argument(flag, default=default, help=told, **accepted)


def _number(kind: type, least: float) -> Callable[[str], float]:
    """What argparse calls to read a number from ``least`` to what 32 bits hold."""

    def read(text: str) -> float:
        value = kind(text)
        if not least <= value < 2**32:  # NaN is in no range
            raise argparse.ArgumentTypeError(f"{text} is not in the range from {least} to 2³² - 1")
        return value

    read.__name__ = kind.__name__  # argparse says "invalid int value"
    return read


def add_commands(commands: Any) -> None:
    """Add the subcommands to those of ``tlcourse``, whose parsers are ``Command``."""
    for name, declare, text in (
        ("advise", _advise, "which strategy fits your images, and why"),
        ("fit", _fit, "train, test, explain and export a model on your images"),
        ("predict", _predict, "what a model says of images, as CSV"),
        ("explain", _explain, "where in the images a model sees its answer"),
        ("export", _export, "write a model as ONNX or for torch.export.load"),
    ):
        commands.add_parser(name, help=text).declare = declare


def _advise(command: Command) -> None:
    from tlcourse.own_images.source_folder import advise_folder

    _add_source(command, advise_folder)

    def run(options: argparse.Namespace) -> int:
        result = advise_folder(
            options.source,
            backbone_name=options.backbone,
            image_size=options.image_size,
            minutes=options.minutes,
            seed=options.seed,
        )
        for line in result.images.findings:
            print(f"note: {line}")
        print(result.advice)
        print(result.advice.table.round(3).to_string())
        return 0

    command.set_defaults(run=run)


def _fit(command: Command) -> None:
    from tlcourse.own_images.source_folder import fit_folder

    _add_source(command, fit_folder)
    command.add_argument("--output", type=Path, required=True, help="a new folder for the model")
    command.add_option("--strategy", fit_folder, "strategy", "instead of the advised one")

    def run(options: argparse.Namespace) -> int:
        fit_folder(
            options.source,
            options.output,
            backbone_name=options.backbone,
            strategy=options.strategy,
            image_size=options.image_size,
            minutes=options.minutes,
            seed=options.seed,
        )
        print(f"the model, its card and the report are in {options.output}")
        return 0

    command.set_defaults(run=run)


def _add_source(command: Command, function: Callable[..., Any]) -> None:
    """The images to learn from, and what ``advise`` and ``fit`` both ask for."""
    text = "one subfolder a class, or a zip or tar"
    command.add_argument("source", metavar="folder", type=Path, help=text)
    command.add_option("--backbone", function, "backbone_name", "a pretrained network")
    text = "side in pixels; the network's own where it is not given"
    command.add_option("--image-size", function, "image_size", text, least=1)
    command.add_option("--minutes", function, "minutes", "to train, at most")
    command.add_option("--seed", function, "seed", "of split and training")


def _predict(command: Command) -> None:
    from tlcourse.own_images.model_folder import predict_files

    _add_model_and_images(command)
    text = "folders name the classes: accuracy"
    command.add_argument("--score", action="store_true", help=text)

    def run(options: argparse.Namespace) -> int:
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

    command.set_defaults(run=run)


def _explain(command: Command) -> None:
    from tlcourse.own_images.model_folder import explain_files

    _add_model_and_images(command)
    text = "a new folder for the pictures"
    command.add_argument("--output", type=Path, required=True, help=text)

    def run(options: argparse.Namespace) -> int:
        explained = explain_files(options.model, options.images, options.output)
        _print_left_out(explained.unreadable)
        number = len(explained.written)
        print(f"in {options.output}: {number} {'picture' if number == 1 else 'pictures'}")
        return 0

    command.set_defaults(run=run)


def _export(command: Command) -> None:
    from tlcourse.own_images.model_folder import Format, export_folder

    command.add_argument("model", type=Path, help="the output folder of fit")
    command.add_argument("--format", choices=get_args(Format), required=True)

    def run(options: argparse.Namespace) -> int:
        print(export_folder(options.model, options.format))
        return 0

    command.set_defaults(run=run)


def _add_model_and_images(command: Command) -> None:
    command.add_argument("model", type=Path, help="the output folder of fit")
    command.add_argument("images", type=Path, help="an image, or a folder or archive of images")


def _print_left_out(lines: Iterable[str]) -> None:
    for line in lines:
        print(f"left out: {line}", file=sys.stderr)
