"""What a command does with an error: one line on standard error, and the exit code 2.

Exit codes: 0 all is done; 1 done, but some rows failed (they are listed in the reject file); 2 nothing was done, since
the command, a file or the machine was at fault; 130 and 143 stopped by Ctrl-C and by SIGTERM.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import typer

from corpora.errors import RadlabelError
from nlp_service.errors import describe

EXIT_OK = 0
EXIT_ROWS_FAILED = 1
EXIT_ERROR = 2


class Terminated(BaseException):
    """SIGTERM came. Like `KeyboardInterrupt` it is no `Exception`: what handles single rows must not catch it."""


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Turn what goes wrong within into a line that starts with ``error:``, notes of the exception below it.

    Of an error that radlabel does not raise on purpose only the kind and the place are shown: its message could quote a
    report. What the command line library raises passes.
    """
    try:
        yield
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except RadlabelError as error:
        _stop(str(error), error)
    except BrokenPipeError:
        # Who read the output has enough (`| head`): nothing is wrong, and nothing must be flushed at the end.
        discard_stdout()
        raise typer.Exit(EXIT_ERROR) from None
    except OSError as error:
        where = f"{error.filename}: " if isinstance(error.filename, str) else ""
        _stop(f"{where}{error.strerror or type(error).__name__}", error)
    except KeyboardInterrupt as error:
        _stop("stopped", error, 128 + signal.SIGINT)
    except Terminated as error:
        _stop("stopped by SIGTERM", error, 128 + signal.SIGTERM)
    except Exception as error:
        _stop(f"{describe(error)}: this is a fault of radlabel, please report it", error)


@contextmanager
def stop_on_sigterm() -> Iterator[None]:
    """Raise `Terminated` within when SIGTERM comes, so that what is half done is tidied up."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def discard_stdout() -> None:
    """Let what is left in the buffer of stdout go nowhere: a flush at the end would fail again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, sys.stdout.fileno())
    except (OSError, ValueError):
        pass  # no real stdout, as in tests
    finally:
        os.close(nowhere)


def _stop(message: str, error: BaseException, code: int = EXIT_ERROR) -> None:
    lines = [f"error: {message}", *getattr(error, "__notes__", ())]
    typer.echo("\n".join(" ".join(line.split()) for line in lines), err=True)
    raise typer.Exit(code) from None
