"""`radlabel serve`: the service, until it is told to stop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nlp_service.cli.errors import exit_on_error
from nlp_service.readers import ReaderKind


def serve(
    host: Annotated[
        str | None,
        typer.Option(help="Address to listen on (default: 127.0.0.1, this machine alone).", show_default=False),
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port (default: 8000).", show_default=False)] = None,
    mllp_port: Annotated[
        int | None, typer.Option(help="Take HL7 v2 messages (ORU^R01) on this port as well.", show_default=False)
    ] = None,
    mllp_sender: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NETWORK",
            help="Network that may send such messages, such as 10.1.2.0/24; may be given again. Needed beyond this "
            "machine.",
            show_default=False,
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Where the database is kept (default: the user's data folder).", show_default=False
        ),
    ] = None,
    database_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Another database, such as postgresql://host/name. A password belongs into RADLABEL_DATABASE_URL.",
            show_default=False,
        ),
    ] = None,
    require_keys: Annotated[
        bool | None,
        typer.Option(
            "--require-keys/--no-keys",
            help="Ask for API keys (default: unless only this machine can connect).",
            show_default=False,
        ),
    ] = None,
    tls_certificate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Certificate chain (PEM), for HTTPS.", show_default=False)
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The certificate's key (PEM).", show_default=False)
    ] = None,
    label_set: Annotated[
        list[str] | None,
        typer.Option(help="Labels given where a request names none (default: chexpert14).", show_default=False),
    ] = None,
    vocabulary: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="YAML file that adds findings or label sets.", show_default=False),
    ] = None,
    reader: Annotated[
        ReaderKind | None,
        typer.Option("--reader", "--engine", help="What reads the sentences (default: encoder).", show_default=False),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of an encoder of your own.", show_default=False)
    ] = None,
    job_root: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR", help="Folder whose files jobs may read by path; may be given again.", show_default=False
        ),
    ] = None,
    job_workers: Annotated[
        int | None, typer.Option(help="0: this process leaves jobs to `radlabel jobs work`.", show_default=False)
    ] = None,
    keep_texts_days: Annotated[
        int | None,
        typer.Option(help="Keep the texts of stored reports so long, for review (default: 0).", show_default=False),
    ] = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(help="Host name that requests may use; may be given again.", show_default=False),
    ] = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Serve the API and the web page, and work on jobs.

    Every option can be given as a variable as well: RADLABEL_PORT, RADLABEL_DATABASE_URL, ... (docs/service.md has
    them all). Without options it listens on this machine alone and needs no key.

    For example:

        radlabel serve
        radlabel serve --port 9000 --job-root /srv/exports
        radlabel serve --host 0.0.0.0 --tls-certificate cert.pem --tls-key key.pem
        radlabel serve --mllp-port 2575 --mllp-sender 10.1.2.0/24
    """
    with exit_on_error():
        from nlp_service.logs import set_up_logs
        from nlp_service.server import run
        from nlp_service.settings import ServiceSettings

        settings = ServiceSettings.load(
            host=host,
            port=port,
            mllp_port=mllp_port,
            mllp_senders=tuple(mllp_sender) if mllp_sender else None,
            data_dir=data_dir,
            database_url=database_url,
            require_keys=require_keys,
            tls_certificate=tls_certificate,
            tls_key=tls_key,
            label_sets=tuple(label_set) if label_set else None,
            vocabulary=tuple(vocabulary) if vocabulary else None,
            reader=reader,
            model=model,
            job_roots=tuple(job_root) if job_root else None,
            job_workers=job_workers,
            keep_texts_days=keep_texts_days,
            allowed_hosts=tuple(allowed_host) if allowed_host else None,
        )
        level = log_level.upper()
        if level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
            raise typer.BadParameter("one of debug, info, warning, error", param_hint="--log-level")
        set_up_logs(level)
        run(settings)
