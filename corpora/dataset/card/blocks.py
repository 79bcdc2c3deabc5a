"""The parts of a card, written as Markdown or as HTML from the same content."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1d2733;"
    "background:#fff}table{border-collapse:collapse;margin:1rem 0;font-size:.9rem}"
    "th,td{border-bottom:1px solid #d7dde4;padding:.25rem .6rem;text-align:left;vertical-align:top}"
    "td.n{text-align:right;font-variant-numeric:tabular-nums}img{max-width:100%;height:auto}"
    "code{background:#f2f4f7;padding:.1rem .3rem;overflow-wrap:anywhere}.table{overflow-x:auto}"
)


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading."""

    text: str
    level: int = 2


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True, slots=True)
class Code:
    """A line of code."""

    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table; numbers are aligned to the right."""

    head: Sequence[str]
    rows: Sequence[Sequence[str | int | float]]


@dataclass(frozen=True, slots=True)
class Picture:
    """A plot by its file's name, with the words that stand for it."""

    file: str
    text: str


Block = Heading | Text | Code | Table | Picture


def as_markdown(blocks: Iterable[Block], folder: str) -> str:
    """Return the card as Markdown; plots are links into ``folder``."""
    parts = []
    for block in blocks:
        match block:
            case Heading(text, level):
                parts.append(f"{'#' * level} {_plain(text)}")
            case Text(text):
                parts.append(_plain(text))
            case Code(text):
                parts.append(f"```\n{text}\n```")
            case Table(head, rows):
                lines = [[_cell(one) for one in row] for row in (head, *rows)]
                rule = ["---:" if _is_number_column(rows, place) else "---" for place in range(len(head))]
                parts.append("\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:])))
            case Picture(file, text):
                parts.append(f"![{_plain(text)}]({folder}/{file})")
    return "\n\n".join(parts) + "\n"


def as_html(blocks: Iterable[Block], title: str, pictures: Mapping[str, bytes]) -> str:
    """Return the card as one HTML file that holds its plots and needs nothing else."""
    parts = []
    for block in blocks:
        match block:
            case Heading(text, level):
                parts.append(f"<h{level}>{escape(text)}</h{level}>")
            case Text(text):
                parts.append(f"<p>{escape(text)}</p>")
            case Code(text):
                parts.append(f"<pre><code>{escape(text)}</code></pre>")
            case Table(head, rows):
                body = "".join(f"<tr>{''.join(_html_cell(one) for one in row)}</tr>" for row in rows)
                names = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
                parts.append(
                    f'<div class="table"><table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table></div>'
                )
            case Picture(file, text):
                data = b64encode(pictures[file]).decode()
                parts.append(f'<p><img alt="{escape(text)}" src="data:image/png;base64,{data}"></p>')
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body><main>\n"
        + "\n".join(parts)
        + "\n</main></body></html>\n"
    )


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("<", "&lt;").replace("|", "\\|")


def _cell(value: str | int | float) -> str:
    return _plain(_shown(value))


def _html_cell(value: str | int | float) -> str:
    kind = "" if isinstance(value, str) else ' class="n"'
    return f"<td{kind}>{escape(_shown(value))}</td>"


def _shown(value: str | int | float) -> str:
    return value if isinstance(value, str) else f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


def _is_number_column(rows: Sequence[Sequence[str | int | float]], place: int) -> bool:
    return bool(rows) and not any(isinstance(row[place], str) for row in rows)
