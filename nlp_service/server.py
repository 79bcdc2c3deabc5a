"""The process that serves: sockets, signals, and what happens between them."""

from __future__ import annotations

import logging
import signal
import socket
import sys
from types import FrameType

import uvicorn

from nlp_service.api.app import create_app
from nlp_service.errors import PortTaken
from nlp_service.process import end_at_last, keep_to_itself
from nlp_service.service import Service
from nlp_service.settings import ServiceSettings

log = logging.getLogger(__name__)
_KEEP_ALIVE_S = 30
_BACKLOG = 512


class _Server(uvicorn.Server):
    """The library's server, which tells the service of a stop when it is asked for, and comes to an end.

    The library does so when all connections are done, and one that follows a job would not be.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal."""
        self._service.is_stopping = True
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop as the library does; see `end_at_last`."""
        end_at_last(self._service.settings)
        await super().shutdown(sockets)


def run(settings: ServiceSettings) -> None:
    """Serve until SIGTERM or Ctrl-C; requests under way are finished first.

    Raises:
        StoreUnusable: the database cannot be used.
        PortTaken: the address is not free, or not this machine's.
    """
    keep_to_itself(settings)
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(settings.shutdown_timeout_s),
        backlog=_BACKLOG,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
    )
    server = _Server(config, app.state.service)
    scheme = "https" if settings.tls_certificate else "http"
    if sys.stderr.isatty():
        sys.stderr.write(f"radlabel: {scheme}://{settings.host}:{settings.port}/  (Ctrl-C stops it)\n")
    log.info("starting", extra={"host": settings.host, "port": settings.port, "executor": settings.executor})
    # The library handles signals while it runs, and sends itself the signal again when it is done: that one is no
    # reason to end with an error.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    try:
        server.run()
    except SystemExit:
        # The library has logged why, and ends the process by itself.
        if app.state.fault is not None:
            raise app.state.fault from None
        raise PortTaken(f"{settings.host}:{settings.port} cannot be listened on: is something else there?") from None
