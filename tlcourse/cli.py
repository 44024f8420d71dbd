"""The command ``tlcourse``; each subcommand imports what it needs only when it is called."""

import argparse
import errno
import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from tlcourse.cli_images import Command, add_commands
from tlcourse.errors import OutputError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; the exit status is 0 when all is well, 1 when something failed."""
    parser = argparse.ArgumentParser(prog="tlcourse", description="A course on transfer learning.")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Command)

    doctor = commands.add_parser("doctor", help="versions, device, data and weights")
    doctor.set_defaults(run=_doctor)

    course = commands.add_parser("course", help="run the chapters and print the table of claims")
    course.add_argument("chapters", nargs="*", help="numbers or names, such as 06; default: all")
    course.add_argument("--profile", choices=("quick", "full"), default="quick")
    kept = course.add_mutually_exclusive_group()
    kept.add_argument("--save", action="store_true", help="replace the committed notebooks")
    kept.add_argument("--record", action="store_true", help="keep the claims in data/results")
    course.set_defaults(run=_course)

    check = commands.add_parser("check", help="run the chapters and say what changed")
    check.add_argument("chapters", nargs="*", help="numbers or names, such as 06; default: all")
    check.add_argument("--executed", action="store_true", help="compare what course ran last")
    check.add_argument("--format", choices=("table", "json", "github"), default="table")
    check.set_defaults(run=_check)

    claims = commands.add_parser("claims", help="the table of claims of the last run")
    claims.add_argument("--guards", action="store_true", help="the bounds on our own numbers")
    claims.set_defaults(run=_claims)

    add_commands(commands)

    options = parser.parse_args(arguments)
    # Redirected output on Windows has no sign for a tick: print "?" there, rather than stop.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        with _printing():
            return options.run(options)
    except BrokenPipeError:  # as by "| head", which has read enough
        return 1
    except (ValueError, OSError) as error:  # a fault of the input or of a disk: no traceback
        print(f"error: {error}", file=sys.stderr)
        return 1


@contextmanager
def _printing() -> Iterator[None]:
    """Write out what was printed while an error can be told: Python raises it as it ends."""
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        broken = isinstance(error, BrokenPipeError)
        # Writing our own files raises OutputError, so a disk without a file's name is the output's.
        full = error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO)
        if broken or full:
            with suppress(OSError, ValueError):  # what is left goes nowhere
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if full:
            raise OutputError(
                f"the output cannot be written ({error.strerror}); make room on the disk or send "
                "it elsewhere"
            ) from error
        raise


def _doctor(options: argparse.Namespace) -> int:
    from tlcourse.doctor import examine

    return examine()


def _course(options: argparse.Namespace) -> int:
    os.environ["TLCOURSE_PROFILE"] = options.profile  # for this process and for the kernels
    from tlcourse.book.course import run_course

    return run_course(options.chapters, save=options.save, record=options.record)


def _check(options: argparse.Namespace) -> int:
    os.environ["TLCOURSE_PROFILE"] = "quick"  # as the chapters are committed
    from tlcourse.book.checking import run_check

    return run_check(options.chapters, executed=options.executed, form=options.format)


def _claims(options: argparse.Namespace) -> int:
    from tlcourse.book.course import print_claims

    return print_claims(guards=options.guards)
