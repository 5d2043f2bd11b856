"""The command line: options in, one library call, messages out. Nothing below knows it."""

from __future__ import annotations

import errno
import io
import os
import re
import sys
import warnings
from typing import Annotated, NoReturn

import typer

from gip_cli.cli.commands import Command, Commands
from gip_cli.cli.compare import compare
from gip_cli.cli.console import fail
from gip_cli.cli.embed import embed
from gip_cli.cli.interruption import Interruption
from gip_cli.cli.report import report
from gip_cli.cli.score import score
from gip_cli.cli.select import select
from gip_cli.errors import GipError, UsageError
from gip_cli.storage import too_long

HELP = """Pick the few instruction-tuning rows that carry the information.

\b
    gip embed  pool.jsonl   -o pool.npy
    gip score  pool.jsonl   -o scored.jsonl --metadata q=meta.rating
    gip select scored.jsonl -e pool.npy -k 1000 -o small.jsonl
\b
    gip select pool.jsonl -k 1000 > small.jsonl     # one step, no signals
"""

EPILOG = (
    "Exit codes: 0 done, 1 a check did not hold, 2 wrong usage, 3 bad input data, 4 embeddings and "
    "rows do not belong together, 5 the judge failed, 6 the system refused to read or "
    "write, 129 hung up, 130 interrupted, 141 the reader of the output went away, 143 terminated."
)

app = typer.Typer(
    name="gip",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


for command in (embed, score, select, report, compare):
    app.command(cls=Command)(command)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"gip {version('gip-cli')}")
        raise typer.Exit


@app.callback(cls=Commands, help=HELP, epilog=EPILOG)
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


def main() -> NoReturn:
    """Run the command line as a process of its own: its streams, its signals and its exit code."""
    _fill_standard_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):  # as stderr is: a name is shown in any encoding
        sys.stdout.reconfigure(errors="backslashreplace")
    # OpenBLAS's kernels were seen to raise this flag for finite rows (numpy issue 24067), and
    # rows that are not finite are refused when they are read.
    warnings.filterwarnings("ignore", "invalid value encountered in matmul", RuntimeWarning)
    if sys.stdout is None or not sys.stdout.isatty():  # typer takes some CI logs for terminals
        os.environ["_TYPER_FORCE_DISABLE_TERMINAL"] = "1"
    interruption = Interruption()
    try:
        with interruption:
            try:
                code = run()
            finally:
                _drop_unsent()
    except (KeyboardInterrupt, Exception) as error:  # a second one before that context has ended
        if not _follows_interruption(error):
            raise
        code = 130
    if code == 130:  # however typer has told it
        code = fail(*interruption.told)
    sys.exit(code)


def run(arguments: list[str] | None = None) -> int:
    """Run one command, by default the process's; the only place that makes errors exit codes."""
    try:
        code: int = app(arguments, standalone_mode=False) or 0
        if sys.stdout is not None:
            sys.stdout.flush()
    except GipError as error:
        if _follows_interruption(error):
            raise
        return fail(error, error.exit_code)
    except typer.TyperException as error:
        message = _LIBRARY_WORDS.sub("", error.format_message().replace("\n", " "))
        return fail(message, 2) if message else 2  # without arguments the help has been shown
    except BrokenPipeError:  # `| head` has what it wanted
        return 141
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # as typer tells of it
            return 141
        raise
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG and error.filename:
            return fail(too_long(error.filename), UsageError.exit_code)
        what = "working directory" if isinstance(error, FileNotFoundError) else "system"
        return fail(f"{error.filename or what}: {(error.strerror or str(error)).lower()}", 6)
    except MemoryError:
        return fail("out of memory", 6)
    return code


# What the validating library says of itself before and after what is wrong with a value.
_LIBRARY_WORDS = re.compile(r"(?<=: )(Value error, |Input (?=should be))|, unable to parse.*")


def _follows_interruption(error: BaseException | None) -> bool:
    """Whether it was raised for one: extension modules make an ImportError of it."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _fill_standard_streams() -> None:
    """Open what was closed: else the next file opened would get its number, and its messages."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free


def _drop_unsent() -> None:
    """Forget what stdout would not take, so that Python does not try again at its end."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
