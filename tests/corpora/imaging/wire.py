"""What lies between a client and a server: a proxy that breaks as networks and servers do."""

from __future__ import annotations

import re
import ssl
import threading
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.corpora.imaging.orthanc import Orthanc


class Wire:
    """A wire between client and server that a test may cut, or make answer what it wants; it counts what went over."""

    def __init__(self, target: Orthanc, *, certificate: Path | None = None) -> None:
        wire = self
        self.paths: list[str] = []
        self.cut_after: int | None = None
        self.answers: dict[str, int] = {}  # status by what a path holds
        self.ignores_offset = False

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                wire.paths.append(self.path)
                if wire.cut_after is not None and len(wire.paths) > wire.cut_after:
                    self.connection.close()
                    self.close_connection = True
                    return
                for part, status in wire.answers.items():
                    if part in self.path:
                        self._answer(status, b"", "text/plain")
                        return
                upstream = HTTPConnection("127.0.0.1", target.http_port, timeout=20)
                try:
                    wanted = {name: self.headers[name] for name in ("Accept", "Authorization") if name in self.headers}
                    path = re.sub(r"offset=\d+", "offset=0", self.path) if wire.ignores_offset else self.path
                    upstream.request("GET", path, headers=wanted)
                    response = upstream.getresponse()
                    self._answer(response.status, response.read(), response.getheader("Content-Type") or "")
                finally:
                    upstream.close()

            def _answer(self, status: int, body: bytes, kind: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # a wire that was cut

        self._server = Server(("127.0.0.1", 0), Handler)
        if certificate is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        scheme = "http" if certificate is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}/dicom-web"

    def __enter__(self) -> Wire:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
