"""A job that is followed: what comes while nothing happens, and that a stop does not wait for the follower."""

from __future__ import annotations

import urllib.request
from pathlib import Path

from tests.nlp_service.processes import Served


def test_a_stop_does_not_wait_for_who_follows_a_job(tmp_path: Path) -> None:
    """Nobody works on the job, so it does not end; a stop that waits for it would take ten minutes."""
    settings = {"RADLABEL_JOB_WORKERS": "0", "RADLABEL_SHUTDOWN_TIMEOUT_S": "600"}
    (tmp_path / "reports.csv").write_text("report_id,text\nr,No effusion.\n")
    with Served(tmp_path, environment=settings) as service:
        job = service.upload(tmp_path / "reports.csv")
        with urllib.request.urlopen(f"{service.url}/v1/jobs/{job}/events", timeout=60) as events:
            lines = [events.readline() for _ in range(3)]
            assert lines[0] == b"event: job\n"
            assert b'"state": "waiting"' in lines[1]
            # A comment, which readers of events pass over, shows proxies that the connection is alive.
            assert events.readline().startswith(b":")
            assert events.readline() == b"\n"
            assert service.stop() == 0
            assert events.read() == b""
