"""What every route needs: the service, who asks, and the way from errors to problems."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Annotated, TypeVar

from fastapi import Depends, Request, Security
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.security.utils import get_authorization_scheme_param

from corpora.errors import LabelSetUnknown
from corpora.findings import LabeledReport
from corpora.reports import Report
from nlp_service.api.problems import FieldProblem, Problem
from nlp_service.label_queue import QueueClosed, QueueFull
from nlp_service.service import Service
from nlp_service.store.group_writer import StoreFailed
from nlp_service.store.keys import ApiKey, Scope

T = TypeVar("T")
bearer = HTTPBearer(auto_error=False, description="A key made by `radlabel keys create`", scheme_name="API key")


def get_service(request: Request) -> Service:
    """Return the service, once it is ready."""
    service: Service = request.app.state.service
    if service.state == "ok":
        return service
    if service.state == "unready":
        raise Problem(503, "unready", "The service could not start", service.fault)
    raise Problem(503, service.state, f"The service is {service.state}", headers={"Retry-After": "5"})


Ready = Annotated[Service, Depends(get_service)]


async def known_key(service: Service, authorization: str) -> ApiKey:
    """Return the key that a request's ``Authorization`` names, or raise the problem that says what is wrong with it."""
    scheme, token = get_authorization_scheme_param(authorization)
    if scheme.lower() != "bearer" or not token:
        service.metrics.refused.labels("no key").inc()
        raise Problem(
            401,
            "no-key",
            "An API key is needed",
            "Send it as Authorization: Bearer <key>; keys are made by `radlabel keys create`.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    key = await run_in_threadpool(service.key_of, token)
    if key is None:
        service.metrics.refused.labels("unknown key").inc()
        raise Problem(
            401,
            "unknown-key",
            "This API key is not known",
            headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
        )
    return key


class Allowed:
    """A dependency that lets requests of a scope through, and returns the id of their key."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    async def __call__(
        self,
        request: Request,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)],
    ) -> str | None:
        """Return the key's id, or ``None`` where no keys are needed."""
        service: Service = request.app.state.service
        if credentials is None and not service.settings.needs_keys:
            return None
        key = await known_key(service, request.headers.get("authorization", ""))
        if self._scope not in key.scopes:
            service.metrics.refused.labels("scope").inc()
            raise Problem(403, "scope", "This API key may not do that", f"It needs the scope {self._scope.value}.")
        request.state.key_id = key.id
        return key.id


MayLabel = Annotated[str | None, Depends(Allowed(Scope.LABEL))]
MayRunJobs = Annotated[str | None, Depends(Allowed(Scope.JOBS))]
MayAdminister = Annotated[str | None, Depends(Allowed(Scope.ADMIN))]


async def waited(future: Future[T], service: Service) -> T:
    """Wait for what another thread does, as long as a request may take."""
    try:
        return await asyncio.wait_for(asyncio.wrap_future(future), service.settings.request_timeout_s)
    except TimeoutError:
        service.metrics.refused.labels("timeout").inc()
        raise Problem(
            503, "timeout", "The service took too long", "It is busy: try again.", headers={"Retry-After": "5"}
        ) from None
    except QueueClosed:
        raise _stopping() from None
    except StoreFailed as error:
        raise Problem(503, "store-failed", "The store could not be written", str(error)) from None


async def labeled(service: Service, reports: Sequence[Report], label_sets: Sequence[str]) -> list[LabeledReport]:
    """Have reports labeled; what stands in the way becomes a problem."""
    check_label_sets(service, label_sets)
    try:
        future = service.label(reports, label_sets)
    except QueueFull as full:
        service.metrics.refused.labels("queue full").inc()
        raise Problem(
            429,
            "queue-full",
            "Too many reports are waiting",
            "Try again after the time in Retry-After.",
            headers={"Retry-After": str(full.retry_after_s)},
        ) from None
    except QueueClosed:
        raise _stopping() from None
    return await waited(future, service)


def check_label_sets(service: Service, label_sets: Sequence[str]) -> None:
    """Raise a problem for a label set that there is not."""
    try:
        service.queue.form(tuple(dict.fromkeys(label_sets)))
    except LabelSetUnknown:
        known = ", ".join(sorted(service.vocabulary.label_sets))
        raise Problem(
            422,
            "unknown-label-set",
            "A label set is not known",
            f"Known are: {known}.",
            errors=[FieldProblem(field="label_sets", reason="names a label set that is not known")],
        ) from None


def _stopping() -> Problem:
    return Problem(503, "stopping", "The service is stopping", headers={"Retry-After": "10"})
