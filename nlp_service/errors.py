"""What can go wrong with a run or a service, as a branch of the tree in `corpora.errors`.

    RadlabelError
    +-- OutputUnusable      an output has no known suffix, or is one of the inputs      (also ValueError)
    +-- OutputExists        an output, or an unfinished run for it, is there already    (also FileExistsError)
    +-- OutputUnwritable    an output cannot be written: no permission, a full disk     (also OSError)
    +-- ResumeMismatch      inputs, options or model are not those of the run to resume (also ValueError)
    +-- WorkerDied          a worker process ended in the middle of its work            (also RuntimeError)
    +-- WorkerMismatch      a worker has another model or version than the run          (also RuntimeError)
    +-- EngineUnavailable   Ray is not installed, not reachable, or has no room         (also RuntimeError)
    +-- PortTaken           an address of the service cannot be listened on             (also OSError)

The rules for messages are those of `corpora.errors`: nothing of a report's content.
"""

from __future__ import annotations

from corpora.errors import RadlabelError


class OutputUnusable(RadlabelError, ValueError):
    """An output has a suffix that names no format, or is the same file as an input."""


class OutputExists(RadlabelError, FileExistsError):
    """An output is there already, or an unfinished run for it; the message says which option to give."""


class OutputUnwritable(RadlabelError, OSError):
    """An output cannot be written; what was under its name before is untouched."""


class ResumeMismatch(RadlabelError, ValueError):
    """Inputs, options, model or versions are not those of the run that is to be resumed."""


class WorkerDied(RadlabelError, RuntimeError):
    """A worker process ended in the middle of its work; the chunks finished before are kept."""


class WorkerMismatch(RadlabelError, RuntimeError):
    """A worker has loaded another model, vocabulary or version than the run: its rows would not be those of the run."""


class EngineUnavailable(RadlabelError, RuntimeError):
    """The engine that was asked for cannot be had; the message says what is missing."""


class PortTaken(RadlabelError, OSError):
    """An address cannot be listened on: something else is there, or it is not this machine's."""


def describe(error: BaseException) -> str:
    """Return the kind of an error and the place in this code that it came from, without its message."""
    place = ""
    trace = error.__traceback__
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] in ("corpora", "models", "nlp_service"):
            place = f" in {module}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return f"{type(error).__name__}{place}"
