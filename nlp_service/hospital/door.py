"""The service's door for HL7 v2: the messages of a RIS or an interface engine, taken in as soon as they are stored."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import ssl

from corpora.sources.hl7 import OruMessage, ResultStatus
from nlp_service.errors import PortTaken
from nlp_service.hospital.mllp import MllpServer
from nlp_service.service import Service
from nlp_service.store.keys import Deed
from nlp_service.store.stored import Arrival

log = logging.getLogger(__name__)


async def open_mllp(service: Service, port: int) -> MllpServer:
    """Listen for messages, and return the server, to be stopped by the caller.

    It can take messages before the model is loaded: they are stored, and labeled when it is. A message that comes again
    (HL7 v2.5.1, 2.10.1: with the same control id) is the same report, which the store has already.

    Raises:
        PortTaken: the port is not free.
    """
    settings = service.settings

    async def store(message: OruMessage) -> None:
        sent = (message.sending_application, message.sending_facility, message.control_id)
        reports = [item for item in message.reports if not item.is_cancelled]
        cancelled = [item for item in message.reports if item.is_cancelled]
        arrivals = [
            Arrival(item.report, "hl7", item.result_status.value if item.result_status else None, sent)
            for item in reports
        ]
        withdrawn = [Arrival(item.report, "hl7", ResultStatus.CANCELLED.value, sent) for item in cancelled]
        deed = Deed("message", "hl7", len(message.reports))
        await asyncio.wrap_future(service.take_in(arrivals, deed, withdrawn=withdrawn))

    tls: ssl.SSLContext | None = None
    if settings.tls_certificate is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(settings.tls_certificate, settings.tls_key)
    server = MllpServer(
        settings.host,
        port,
        store,
        tls=tls,
        senders=[ipaddress.ip_network(network) for network in settings.mllp_senders],
        on_answer=lambda code: service.metrics.acknowledgments.labels(code).inc(),
    )
    try:
        await server.start()
    except OSError as error:
        raise PortTaken(f"{settings.host}:{port} cannot be listened on for MLLP ({type(error).__name__})") from None
    service.metrics.watch("mllp_connections", "Senders of HL7 messages that are connected", lambda: server.connections)
    log.info("takes HL7 messages", extra={"host": settings.host, "port": server.port})
    return server
