"""The outermost layer: who may speak to the service at all, how much they may send, and what is noted of it.

It is plain ASGI: it asks for the key before it reads a body, and sees the body as it arrives, so a limit holds before
anything is parsed.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.responses import Response

from nlp_service.api.bodies import Message, Receive, check_depth, counted, read_body, replayed, too_large
from nlp_service.api.context import known_key
from nlp_service.api.fhir import as_outcome
from nlp_service.api.problems import Problem
from nlp_service.errors import describe
from nlp_service.service import Service

Scope = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

log = logging.getLogger(__name__)
_UPLOADS = frozenset({("POST", "/v1/jobs")})  # what takes files, and reads them part by part
_BODYLESS = frozenset({"GET", "HEAD", "OPTIONS"})
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})  # asked every few seconds: not logged
# The page loads its own files alone, and nothing may frame it or send its forms elsewhere.
_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
        b"font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)


class Guard:
    """Checks hosts, origins, keys and sizes, adds the headers that browsers need, and writes log and metrics."""

    def __init__(self, app: App, service: Service) -> None:
        self._app = app
        self._service = service
        self._settings = service.settings
        self._metrics = service.metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = secrets.token_hex(8)
        answer = {"status": 500, "begun": False}
        is_cacheable = scope["path"].startswith("/static/")

        async def send_checked(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer["status"], answer["begun"] = message["status"], True
                headers = [*message.get("headers", ()), *_HEADERS, (b"x-request-id", request_id.encode())]
                if not is_cacheable:
                    headers.append((b"cache-control", b"no-store"))
                if self._settings.tls_certificate is not None:
                    headers.append((b"strict-transport-security", b"max-age=31536000"))
                message = {**message, "headers": headers}
            await send(message)

        try:
            try:
                self._check_sender(scope)
                receive = await self._limited(scope, receive)
                await self._app(scope, receive, send_checked)
            except Problem as problem:
                if answer["begun"]:
                    raise
                await _answer(scope, problem)(scope, receive, send_checked)
        except Exception as error:
            # The message could quote the request: its kind and place are told, and nothing else.
            log.error("request failed", extra={"request_id": request_id, "fault": describe(error)})
            if not answer["begun"]:
                fault = Problem(
                    500, "internal-error", "The service failed", f"Its log has the request id {request_id}."
                )
                await _answer(scope, fault)(scope, receive, send_checked)
        finally:
            self._note(scope, request_id, int(answer["status"]), time.perf_counter() - started)

    def _check_sender(self, scope: Scope) -> None:
        headers = {name: value for name, value in scope["headers"] if name in (b"host", b"origin")}
        host = headers.get(b"host", b"").decode("latin-1").lower()
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        hosts = self._settings.hosts
        if hosts is not None and name not in hosts:
            raise Problem(421, "host-not-served", "This host name is not served here", "See the setting allowed_hosts.")
        origin = headers.get(b"origin")
        # A page of another origin gets nothing: neither an answer (no CORS), nor a side effect.
        is_foreign = origin is not None and origin.decode("latin-1").lower().partition("://")[2] != host
        if is_foreign and scope["method"] not in ("GET", "HEAD", "OPTIONS"):
            raise Problem(403, "other-origin", "Requests of pages from elsewhere are refused")

    async def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """Return the body to the application only as far as the limits allow."""
        headers = dict(scope["headers"])
        if headers.get(b"content-encoding", b"identity").lower() not in (b"identity", b""):
            raise Problem(415, "compressed-body", "Send the body uncompressed")
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        is_upload = kind == b"multipart/form-data" and (scope["method"], scope["path"]) in _UPLOADS
        limit = self._settings.max_upload_bytes if is_upload else self._settings.max_body_bytes
        declared = headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared) > limit:
            raise too_large(limit)
        has_body = bool(declared.strip(b"0")) or b"transfer-encoding" in headers
        if scope["method"] in _BODYLESS or not has_body:
            return receive
        if self._settings.needs_keys:
            # Nothing is kept of a body whose sender has no key.
            await known_key(self._service, headers.get(b"authorization", b"").decode("latin-1"))
        timeout_s = self._settings.request_timeout_s
        if is_upload:
            return counted(receive, limit, timeout_s)
        body = await read_body(receive, limit, timeout_s)
        if kind == b"application/json" or kind.endswith(b"+json"):
            await check_depth(body, self._settings.max_json_depth)
        return replayed(body, receive)

    def _note(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        route = scope.get("route")
        # The route, not the path: a path could hold anything.
        path = str(getattr(route, "path", "")) or ("/static" if scope["path"].startswith("/static/") else "none")
        self._metrics.requests.labels(path, str(status)).inc()
        self._metrics.seconds.labels(path).observe(seconds)
        if path in _QUIET:
            return
        method = scope["method"] if scope["method"] in _METHODS else "other"
        log.info(
            "request",
            extra={
                "request_id": request_id,
                "method": method,
                "route": path,
                "status": status,
                "duration_ms": round(1000 * seconds, 1),
                "key_id": scope.get("state", {}).get("key_id"),
            },
        )


_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})


def _answer(scope: Scope, problem: Problem) -> Response:
    """Return a problem as clients of the route expect it."""
    return as_outcome(problem) if scope["path"].startswith("/v1/fhir/") else problem.response()
