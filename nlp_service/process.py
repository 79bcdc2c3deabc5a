"""What a process of the service sets up for itself: where its temporary files lie, who may read them, and its end."""

from __future__ import annotations

import logging
import os
import tempfile
import threading

from nlp_service.settings import ServiceSettings

log = logging.getLogger(__name__)
_GRACE_S = 15.0
_EXIT_CODE = 1


def keep_to_itself(settings: ServiceSettings) -> None:
    """Have files of this process be its user's alone, and temporary ones lie in the data folder.

    An upload is spooled while it comes in, and results while they go out: that is what reports say.
    """
    os.umask(0o077)
    folder = settings.data_dir / "tmp"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    tempfile.tempdir = str(folder)


def end_at_last(settings: ServiceSettings) -> None:
    """End the process once it has been stopping for longer than it may.

    A job whose database is away waits for it, and so does the engine of the jobs; what is under way goes on at the next
    start, as after a kill.
    """

    def give_up() -> None:
        log.error("the stop took too long: what is under way goes on at the next start")
        os._exit(_EXIT_CODE)

    timer = threading.Timer(settings.shutdown_timeout_s + _GRACE_S, give_up)
    timer.daemon = True
    timer.start()
