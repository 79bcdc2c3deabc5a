"""`radlabel dataset`: reports and images become a data set; what it holds is checked, described and exported."""

from __future__ import annotations

import typer

from nlp_service.cli.dataset_build import build
from nlp_service.cli.dataset_use import card, check, export

app = typer.Typer(
    name="dataset",
    help="Build data sets from reports and images, check, describe and export them.",
    no_args_is_help=True,
)
for command in (build, check, card, export):
    app.command()(command)
