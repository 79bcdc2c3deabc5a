"""`radlabel keys`: who may use the service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nlp_service.cli.errors import exit_on_error

if TYPE_CHECKING:
    import sqlalchemy as sa

app = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True, add_completion=False)

DataDir = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="As for radlabel serve (default: the user's data folder).", show_default=False),
]


@contextmanager
def store_connection(data_dir: Path | None) -> Iterator[sa.Connection]:
    """Give a connection to the store of the settings, in a transaction that writes."""
    from nlp_service.settings import ServiceSettings
    from nlp_service.store.database import check_revision, open_database

    engine = open_database(ServiceSettings.load(data_dir=data_dir).store_url)
    check_revision(engine)
    with engine.execution_options(radlabel_writes=True).begin() as connection:
        yield connection
    engine.dispose()


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for, such as ris-interface.", show_default=False)],
    scope: Annotated[
        list[str] | None,
        typer.Option(help="label, jobs or admin; may be given again (default: label).", show_default=False),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Make a key. Its token is shown once, and kept nowhere: the store has a digest.

    For example:

        radlabel keys create ris-interface --scope label --scope jobs
    """
    with exit_on_error():
        from nlp_service.store.keys import Scope, create_key

        try:
            scopes = [Scope(value) for value in scope or ["label"]]
        except ValueError:
            raise typer.BadParameter("label, jobs or admin", param_hint="--scope") from None
        with store_connection(data_dir) as connection:
            key, token = create_key(connection, name, scopes)
        typer.echo(f"key {key.id} ({', '.join(sorted(key.scopes))}); its token, shown this once:", err=True)
        typer.echo(token)


@app.command("list")
def list_(data_dir: DataDir = None) -> None:
    """List all keys, revoked ones too."""
    with exit_on_error():
        from nlp_service.store.keys import list_keys

        with store_connection(data_dir) as connection:
            keys = [key.as_dict() for key in list_keys(connection)]
        for key in keys:
            state = f"revoked {key['revoked_at']}" if key["revoked_at"] else "active"
            typer.echo(f"{key['id']}  {key['name']}  {','.join(key['scopes'])}  made {key['created_at']}  {state}")
        if not keys:
            typer.echo("there is no key yet: radlabel keys create NAME", err=True)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="As radlabel keys list shows it.", show_default=False)],
    data_dir: DataDir = None,
) -> None:
    """Revoke a key: within five seconds it opens nothing any more."""
    with exit_on_error():
        from nlp_service.store.keys import revoke_key

        with store_connection(data_dir) as connection:
            key = revoke_key(connection, key_id)
        typer.echo(f"key {key.id} is revoked", err=True)
