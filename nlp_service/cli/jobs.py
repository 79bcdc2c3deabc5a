"""`radlabel jobs`: worker processes, and what is in the queue."""

from __future__ import annotations

from typing import Annotated

import typer

from nlp_service.cli.errors import exit_on_error
from nlp_service.cli.keys import DataDir, store_connection

app = typer.Typer(help="Work on the jobs of the service, and list them.", no_args_is_help=True, add_completion=False)


@app.command()
def work(
    name: Annotated[
        str,
        typer.Option(help="Name of this worker; no two that run may share one.", show_default=False),
    ],
    data_dir: DataDir = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of the encoder (default: all cores).", show_default=False)
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            min=1, max=65535, help="Answer Prometheus on this port (address: RADLABEL_HOST).", show_default=False
        ),
    ] = None,
) -> None:
    """Work on jobs, until it is told to stop: as many processes as there are cores can share one queue.

    They find the queue by RADLABEL_DATABASE_URL (PostgreSQL). A worker that is killed goes on with its work when it
    comes back under its name; if it does not, the others take it over after a minute.

    For example:

        radlabel jobs work --name worker-1 --threads 1
    """
    with exit_on_error():
        from nlp_service.jobs.worker import work_on_jobs
        from nlp_service.logs import set_up_logs
        from nlp_service.settings import ServiceSettings

        set_up_logs()
        work_on_jobs(ServiceSettings.load(executor=name, data_dir=data_dir, threads=threads), metrics_port=metrics_port)


@app.command("list")
def list_(data_dir: DataDir = None, limit: Annotated[int, typer.Option(min=1)] = 20) -> None:
    """List the last jobs, the newest first."""
    with exit_on_error():
        from nlp_service.jobs.table import list_jobs

        with store_connection(data_dir) as connection:
            jobs = [job.as_dict() for job in list_jobs(connection, limit)]
        for job in jobs:
            done = f"{job['records_done']:,} of {job['records']:,} records"
            typer.echo(f"{job['id']}  {job['state']}  {done}  {job['created_at']}")
        if not jobs:
            typer.echo("there is no job", err=True)
