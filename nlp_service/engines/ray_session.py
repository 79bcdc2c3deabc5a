"""Ray, begun so that nothing leaves the machine: a cluster of this process's own, or one that is there already."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any

from models.text.encoder.session import usable_processors
from nlp_service.engines import ray_guard
from nlp_service.engines.options import EngineOptions
from nlp_service.errors import EngineUnavailable

CONNECT_TIMEOUT_S = 5.0
MIB = 2**20
# A socket's path has 107 characters at most, of which Ray's own part takes 75.
MAX_FOLDER_LENGTH = 24
# Shared memory of a cluster of our own. Chunks are bounded, and few are on their way: this is never full.
STORE_BYTES_PER_WORKER = 256 * MIB
# Usage statistics would go to Ray's makers. The second has workers without a GPU see none, as Ray's next versions will.
ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


class _NoPaths(list[str]):
    """Where Ray notes the folder that the command runs in, for its workers to import from; they must not.

    A user's folder may hold a ``models`` or ``corpora`` of its own.
    """

    def extend(self, _: Iterable[str]) -> None:
        return


@contextmanager
def connected(options: EngineOptions) -> Iterator[ModuleType]:
    """Yield Ray, connected; what was begun here ends with the context. A program that has Ray running keeps its own.

    Raises:
        EngineUnavailable: Ray is not installed, or nothing answers at the address.
    """
    try:
        import ray
    except ImportError:
        raise EngineUnavailable("the engine ray needs the extra: pip install 'radlabel[ray]'") from None
    if ray.is_initialized():
        yield ray
        return
    if options.ray_address is None:
        with _own_cluster(ray, options.workers or usable_processors()):
            yield ray
        return
    _check_address(options.ray_address)
    _init(ray, options.ray_address, {}, {})
    try:
        yield ray
    finally:
        ray.shutdown()


def workers_with_room(ray: ModuleType, options: EngineOptions) -> int:
    """Return how many workers to start: the number asked for, by default as many as the cluster has processors (or
    shares of its GPUs) for.

    Raises:
        EngineUnavailable: no node has what one worker needs.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    share = options.gpus_per_worker
    room = sum(
        int(min(node.get("CPU", 0), node.get("GPU", 0) / share + 1e-6 if share else float("inf"))) for node in nodes
    )
    if not room:
        need = f"a processor and {share:g} GPU" if share else "a processor"
        raise EngineUnavailable(f"no node of the Ray cluster has {need} for a worker")
    return options.workers if options.workers is not None else room


@contextmanager
def _own_cluster(ray: ModuleType, workers: int) -> Iterator[None]:
    # Ray's folder holds sockets and logs: for this user alone, and gone at the end.
    folder = tempfile.mkdtemp(prefix="radlabel-", dir=_short_folder())
    command = [sys.executable, "-I", ray_guard.__file__, folder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True):  # its end closes the pipe, and waits
        try:
            _init(
                ray,
                "local",
                {
                    "num_cpus": workers,
                    "include_dashboard": False,
                    "object_store_memory": max(workers, 2) * STORE_BYTES_PER_WORKER,
                    "_temp_dir": folder,
                    "_node_ip_address": "127.0.0.1",
                    # What does not fit into memory would be written to a disk, and it holds reports.
                    "_system_config": {"automatic_object_spilling_enabled": False},
                },
                {ray_guard.VARIABLE: folder, **_token()},
            )
            yield
        finally:
            ray.shutdown()
            _forget_token()


def _short_folder() -> str:
    """Return where temporary files go, or a shorter path: the names of sockets are bounded by the system."""
    usual = tempfile.gettempdir()
    short = "/tmp"
    return short if len(usual) > MAX_FOLDER_LENGTH and os.access(short, os.W_OK) else usual


def _init(ray: ModuleType, address: str, options: Mapping[str, Any], environment: Mapping[str, str]) -> None:
    from ray.job_config import JobConfig

    job = JobConfig()
    job._py_driver_sys_path = _NoPaths()
    with _environment({**ENVIRONMENT, **environment}), _signals_kept(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Ray's own making, and of no use to who labels reports
        try:
            ray.init(
                address=address,
                job_config=job,
                log_to_driver=False,
                configure_logging=False,
                logging_level=logging.CRITICAL,
                **options,
            )
        except (ConnectionError, TimeoutError, RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
            what = "a Ray cluster could not be started here" if address == "local" else f"{address}: no Ray cluster"
            version = "; is its version of Ray and Python that of this machine?" if address != "local" else ""
            raise EngineUnavailable(f"{what} ({type(error).__name__}){version}") from None


def _check_address(address: str) -> None:
    """Raise `EngineUnavailable` unless something listens at an address: Ray itself tries for a minute or more."""
    if address == "auto":
        return
    host, colon, port = address.rpartition(":")
    if "://" in address or not colon or not port.isdigit():
        raise EngineUnavailable(f"{address}: an address of Ray is HOST:PORT, as `ray start --head` shows it, or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except (OSError, OverflowError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
        raise EngineUnavailable(f"{address}: no Ray cluster answers there ({reason})") from None


def _token() -> dict[str, str]:
    """Return what keeps the other users of this machine out of a cluster of our own.

    Ray of its own accord would write a token to the user's home folder, and a notice of it to the terminal.
    """
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


def _forget_token() -> None:
    """Have Ray read modes and tokens anew: what it has read it keeps, and the next cluster may be one without."""
    with suppress(ImportError, AttributeError):  # older versions know no tokens
        from ray import _raylet  # compiled, and without types

        raylet: Any = _raylet
        raylet.Config.initialize("")
        raylet.AuthenticationTokenLoader.instance().reset_cache()


@contextmanager
def _environment(wanted: Mapping[str, str]) -> Iterator[None]:
    """Set what Ray and the processes it starts read from the environment, and what was there back again."""
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    _forget_token()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Have SIGTERM do what it did: Ray sets a handler of its own, which ends the process without tidying up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        with suppress(TypeError):  # one that was not set from Python cannot be set again
            signal.signal(signal.SIGTERM, before)
