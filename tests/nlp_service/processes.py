"""Real peers of the tests: the service as a process of its own, and a PostgreSQL server, on free loopback ports."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

READY_S = 120


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Served:
    """A service that runs as a process; `start` and `kill` as often as a test likes, the data stays."""

    def __init__(self, folder: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self.log = folder / "service.log"
        self._command = [sys.executable, "-m", "nlp_service", *(arguments or ("serve", "--port", str(self.port)))]
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RADLABEL_")},
            "RADLABEL_DATA_DIR": str(folder),
            "RADLABEL_READER": "rules",
            **(environment or {}),
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.token: str | None = None

    @property
    def url(self) -> str:
        """Return where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()

    def start(self, *, wait: bool = True) -> None:
        """Start the process, and wait until it is ready."""
        with self.log.open("ab") as stream:
            self.process = subprocess.Popen(self._command, stdout=stream, stderr=stream, env=self._environment)
        deadline = time.monotonic() + READY_S
        while wait:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the service did not start: {self.log.read_text()[-3000:]}")
            with suppress(OSError):
                urllib.request.urlopen(f"{self.url}/readyz", timeout=5).close()
                return
            time.sleep(0.05)

    def wait_for_event(self, event: str) -> None:
        """Wait until the log tells of an event, where there is no port to ask."""
        deadline = time.monotonic() + READY_S
        while f'"event": "{event}"' not in self.log.read_text():
            assert self.process is not None
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the process did not get there: {self.log.read_text()[-3000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """End the process at once, as a power cut would."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """Ask the process to stop; return its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(60)

    def request(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, bytes]:
        """Send a request; return status and body of the answer."""
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, method=method)
        if data is not None:
            request.add_header("Content-Type", "application/json")
        if self.token is not None:
            request.add_header("Authorization", f"Bearer {self.token}")
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return int(answer.status), answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def get(self, path: str) -> Any:
        """Return the JSON that a path answers with."""
        status, body = self.request("GET", path)
        assert status == 200, (status, body)
        return json.loads(body)

    def upload(self, path: Path, **fields: str) -> str:
        """Start a job over a file; return its id."""
        boundary = "radlabelboundary"
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in fields.items()
        ]
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{path.name}"\r\n'
        parts += [head.encode(), b"Content-Type: application/octet-stream\r\n\r\n", path.read_bytes(), b"\r\n"]
        data = b"".join([*parts, f"--{boundary}--\r\n".encode()])
        kind = f"multipart/form-data; boundary={boundary}"
        status, body = self.request("POST", "/v1/jobs", data, Content_Type=kind)
        assert status == 201, (status, body)
        return str(json.loads(body)["id"])


class Postgres:
    """A PostgreSQL server with a database of its own, which can be stopped and started again."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.port = free_port()
        self.url = f"postgresql://radlabel@127.0.0.1:{self.port}/radlabel"
        self._folder, self._programs = folder, programs
        # The server refuses to run as root, and its user cannot enter pytest's folders.
        self._as_user = (
            ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
        )
        if self._as_user:
            shutil.chown(folder, "postgres", "postgres")
        initdb = [str(programs / "initdb"), "-D", str(folder / "data"), "-U", "radlabel"]
        initdb += ["-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run([*self._as_user, *initdb], check=True, capture_output=True, cwd=folder)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server, and wait until its database is there."""
        options = ["-p", str(self.port), "-k", str(self._folder), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        self._process = subprocess.Popen(
            [*self._as_user, str(self._programs / "postgres"), "-D", str(self._folder / "data"), *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._folder,
        )
        psql = [str(self._programs / "psql"), "-h", "127.0.0.1", "-p", str(self.port), "-U", "radlabel"]
        deadline = time.monotonic() + READY_S
        while True:
            made = subprocess.run(
                [*psql, "-d", "postgres", "-c", "CREATE DATABASE radlabel"], capture_output=True, check=False
            )
            if not made.returncode or b"already exists" in made.stderr:
                return
            assert self._process.poll() is None, "PostgreSQL ended"
            assert time.monotonic() < deadline, "PostgreSQL did not start"
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop the server; connections are ended."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # "fast" shutdown
            self._process.wait(60)
            self._process = None


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Run a PostgreSQL server with an empty database."""
    programs = postgres_programs()
    assert programs is not None
    folder = Path(tempfile.mkdtemp(prefix="radlabel-postgres-"))
    try:
        server = Postgres(folder, programs)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def postgres_server() -> Iterator[str]:
    """Run a PostgreSQL server with an empty database; give its URL."""
    with postgres() as server:
        yield server.url


def upgrade_database(settings: Mapping[str, str]) -> None:
    """Make the tables in the database that the settings name."""
    upgrade = [sys.executable, "-m", "nlp_service", "db", "upgrade"]
    subprocess.run(upgrade, check=True, env={**os.environ, **settings}, capture_output=True)


def postgres_programs() -> Path | None:
    """Return the folder of PostgreSQL's programs, or ``None`` if there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    program = shutil.which("postgres")
    return Path(program).resolve().parent if program else None
