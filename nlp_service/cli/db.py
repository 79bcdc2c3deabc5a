"""`radlabel db`: the tables of the store."""

from __future__ import annotations

import typer

from nlp_service.cli.errors import exit_on_error
from nlp_service.cli.keys import DataDir

app = typer.Typer(help="Make and upgrade the tables of the store.", no_args_is_help=True, add_completion=False)


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
def version(data_dir: DataDir = None) -> None:
    """Show the version of the tables, and the one that this release wants."""
    with exit_on_error():
        from nlp_service.settings import ServiceSettings
        from nlp_service.store.database import current_revision, newest_revision, open_database

        engine = open_database(ServiceSettings.load(data_dir=data_dir).store_url)
        typer.echo(f"there: {current_revision(engine) or 'none'}, wanted: {newest_revision()}")
