"""`radlabel`: the commands, each loaded when it is called, so that help and one command do not wait for all."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from nlp_service._version import __version__

# Command: where it is, and the line that the overview shows (a test holds it against the command's own help).
COMMANDS = {
    "label": ("nlp_service.cli.label:label", "Label files of radiology reports."),
    "demo": (
        "nlp_service.cli.demo:demo",
        "Label sixty invented reports and show what was read in them. They come with radlabel.",
    ),
    "images": ("nlp_service.cli.images:app", "Index images of a folder, a DICOMweb server or a manifest."),
    "link": ("nlp_service.cli.link:link", "Link reports to the images they are about."),
    "dataset": (
        "nlp_service.cli.dataset:app",
        "Build data sets from reports and images, check, describe and export them.",
    ),
    "cache": ("nlp_service.cli.cache:app", "Keep the readings of frequent sentences in a file, for the runs to come."),
    "vision": (
        "nlp_service.cli.vision:app",
        "Train image models from a data set's weak labels, measure them, and read images with them.",
    ),
    "concordance": (
        "nlp_service.cli.concordance:concordance",
        "Find report labels that the images speak against, and estimate how many labels of each finding are wrong.",
    ),
    "serve": ("nlp_service.cli.serve:serve", "Serve the API and the web page, and work on jobs."),
    "jobs": ("nlp_service.cli.jobs:app", "Work on the jobs of the service, and list them."),
    "keys": ("nlp_service.cli.keys:app", "Make, list and revoke API keys."),
    "review": ("nlp_service.cli.review:app", "Put labels into the review queue, and export what people said."),
    "db": ("nlp_service.cli.db:app", "Make and upgrade the tables of the store, and delete what is stored."),
    "vocabulary": ("nlp_service.cli.vocabulary:app", "Look up findings and label sets, and check files of your own."),
    "corpus": ("nlp_service.cli.corpus:app", "Fetch public report corpora, and count what a source of reports holds."),
    "text": ("nlp_service.cli.text:app", "Measure the reader of reports, and train one of your own."),
}


class _Commands(TyperGroup):
    """The group of all commands. The overview is made from the table above; all else loads the command's module."""

    _is_overview = False

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        if self._is_overview:
            return TyperCommand(cmd_name, help=COMMANDS[cmd_name][1])
        return load_command(cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self._is_overview = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._is_overview = False


def load_command(name: str) -> Any:
    """Return one of `COMMANDS`, ready to be called."""
    module, _, attribute = COMMANDS[name][0].partition(":")
    found = getattr(import_module(module), attribute)
    if isinstance(found, typer.Typer):
        command: Any = get_group(found)
    else:
        single = typer.Typer(add_completion=False, rich_markup_mode="markdown")
        single.command()(found)
        command = get_command(single)
    command.name = name
    return command


app = typer.Typer(
    name="radlabel",
    cls=_Commands,
    no_args_is_help=True,
    # A traceback of a fault could show a report; `exit_on_error` names the place instead.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"radlabel {__version__}")
        raise typer.Exit


@app.callback()
def radlabel(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Read radiology reports on your own machine: findings with evidence, and labels for each study.

    For research. Not a medical device.
    """


def main() -> None:
    """Run the command line."""
    app()
