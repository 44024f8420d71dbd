"""The command for recorded studies: list them, run what is missing, check a record, report it."""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from tlcourse.cli_images import Command


def add_study(commands: Any) -> None:
    """Add ``tlcourse study`` to the subcommands of ``tlcourse``, whose parsers are ``Command``."""
    text = "recorded studies: list, run, check, report"
    commands.add_parser("study", help=text).declare = _study


def _study(command: Command) -> None:
    from tlcourse.advice.sweeps import sweep
    from tlcourse.studies import spot_check

    command.add_argument("name", nargs="?", help="of a study; without it all are listed")
    what = command.add_mutually_exclusive_group()
    text = "run N recorded cells again; the status is 1 when one falls elsewhere"
    what.add_argument("--check", type=int, metavar="N", help=text)
    text = "run one cell, by its number from 0 on, and print it; also under torchrun"
    what.add_argument("--cell", type=int, metavar="N", help=text)
    text = "every comparison with its effect, interval and verdict"
    what.add_argument("--report", action="store_true", help=text)
    text = "draw the report as well, into this PNG, SVG or PDF"
    command.add_argument("--figure", type=Path, metavar="FILE", help=text)
    text = "of the record, instead of the one that comes with the course"
    command.add_argument("--folder", type=Path, metavar="DIR", help=text)
    command.add_option("--seed", spot_check, "seed", "of the cells that are checked")
    command.add_option("--measure", spot_check, "measure", "that is checked")
    command.add_option("--tolerance", spot_check, "tolerance", "of the check")
    command.add_option("--workers", sweep, "workers", "processes on this machine", least=1)
    command.add_option("--backend", sweep, "backend", "where the cells run")
    command.add_option("--address", sweep, "address", "of the dask scheduler or ray cluster")
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from tlcourse.studies import run_study, study_named

    if options.figure and not options.report:
        raise ValueError("--figure draws a report: add --report")
    if options.name is None:
        return _list()
    study = replace(study_named(options.name), folder=options.folder)
    if options.cell is not None:
        return _cell(study, options.cell)
    if options.check is not None:
        return _check(study, options)
    if options.report:
        return _report(study, options.figure)
    report = run_study(
        study, workers=options.workers, backend=options.backend, address=options.address
    )
    print(
        f"{study.name}: {report.done} cells now, {report.kept} before; "
        f"{len(report.interrupted)} had been interrupted, {len(report.retried)} were tried again"
    )
    return 0


def _list() -> int:
    from tlcourse.studies import STUDIES
    from tlcourse.studies.study import progress_of

    for name, study in STUDIES.items():
        done, count = progress_of(study)
        print(f"{name}: {done:,} of {count:,} cells\n    {study.question}")
    return 0


def _cell(study: Any, number: int) -> int:
    from tlcourse.tuning.data_parallel import is_first, joined

    if not 0 <= number < len(study.cells):
        raise ValueError(f"{study.name} has cells 0 to {len(study.cells) - 1}, no {number}")
    with joined():
        result = study.run(**study.cells[number])
        if is_first():
            print(json.dumps({**study.cells[number], **result}))
    return 0


def _check(study: Any, options: argparse.Namespace) -> int:
    from tlcourse.studies import spot_check

    table = spot_check(
        study,
        options.check,
        options.seed,
        measure=options.measure,
        tolerance=options.tolerance,
    )
    print(table.drop(columns=table.columns[table.nunique() == 1].difference(_SHOWN)).round(4))
    outside = int((~table["holds"]).sum())
    print(f"{len(table) - outside} of {len(table)} cells fall where the record says")
    return int(outside > 0)


_SHOWN = ["recorded", "now", "difference", "low", "high", "holds"]


def _report(study: Any, figure: Path | None) -> int:
    from tlcourse.studies import as_text, findings, forest
    from tlcourse.studies.study import progress_of

    found = findings(study)
    print(as_text(study, found))
    if figure:
        done, declared = progress_of(study)
        interim = done < declared
        picture = forest(found, title=study.question, effect="difference", interim=interim)
        picture.figure.savefig(figure)
        print(f"\n{figure}: {picture.alt}")
    return 0
