"""`radlabel db`: the tables of the store."""

from __future__ import annotations

from typing import Annotated

import typer

from nlp_service.cli.errors import exit_on_error
from nlp_service.cli.keys import DataDir, store_connection

app = typer.Typer(
    help="Make and upgrade the tables of the store, and delete what is stored.",
    no_args_is_help=True,
    add_completion=False,
)


@app.command()
def upgrade(data_dir: DataDir = None) -> None:
    """Bring the tables to the version of this release; what is stored stays.

    An embedded database (SQLite) does so by itself when the service starts. For PostgreSQL, give its URL in
    RADLABEL_DATABASE_URL, stop the service, make a backup, and run this once.
    """
    with exit_on_error():
        from nlp_service.settings import ServiceSettings
        from nlp_service.store.database import open_database
        from nlp_service.store.database import upgrade as bring

        engine = open_database(ServiceSettings.load(data_dir=data_dir).store_url)
        typer.echo(f"the tables are of version {bring(engine)}", err=True)


@app.command()
def forget(
    accession_number: Annotated[str | None, typer.Option(help="Of the study.", show_default=False)] = None,
    issuer: Annotated[str | None, typer.Option(help="Who gave that number.", show_default=False)] = None,
    study_instance_uid: Annotated[str | None, typer.Option(help="Of the study.", show_default=False)] = None,
    data_dir: DataDir = None,
) -> None:
    """Delete what is stored of a study: reports, labels, reviews, scores of images. It cannot be undone.

    For example:

        radlabel db forget --accession-number A-1001 --issuer RIS
    """
    if accession_number is None and study_instance_uid is None:
        raise typer.BadParameter("name a study", param_hint="--accession-number or --study-instance-uid")
    with exit_on_error():
        from nlp_service.store.images import delete_study
        from nlp_service.store.keys import Deed, record

        with store_connection(data_dir) as connection:
            reports, images = delete_study(
                connection, accession_number=accession_number, issuer=issuer, study_instance_uid=study_instance_uid
            )
            record(connection, [Deed("delete study", "cli", reports + images)])
    typer.echo(f"{reports:,} reports and the scores of {images:,} images are gone", err=True)


@app.command()
def version(data_dir: DataDir = None) -> None:
    """Show the version of the tables, and the one that this release wants."""
    with exit_on_error():
        from nlp_service.settings import ServiceSettings
        from nlp_service.store.database import current_revision, newest_revision, open_database

        engine = open_database(ServiceSettings.load(data_dir=data_dir).store_url)
        typer.echo(f"there: {current_revision(engine) or 'none'}, wanted: {newest_revision()}")
