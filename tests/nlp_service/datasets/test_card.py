"""The card: numbers that add up, plots, and nothing of a report."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

from typer.testing import CliRunner

from corpora.dataset import DatasetFolder
from corpora.dataset.card import write_card
from corpora.dataset.card.numbers import VALUES, count
from corpora.dataset.recipe import SPLITS
from nlp_service.cli.app import app
from nlp_service.datasets import BuildSummary
from tests.nlp_service.datasets.making import MARK, files_of

PLOTS = {"prevalence", "unsaid", "together", "confidence", "funnel", "by_view", "by_sex", "by_age", "by_manufacturer"}


def test_numbers_are_those_of_the_rows(dataset: DatasetFolder) -> None:
    numbers = count(dataset)
    rows = list(dataset.iter_rows())
    assert numbers.rows == len(rows)
    for place, split in enumerate(SPLITS):
        of_split = [row for row in rows if row["split"] == split]
        assert numbers.patients[split] == len({row["patient_id"] for row in of_split})
        for index, label in enumerate(dataset.labels):
            values = [row[f"label:{label}"] or "blank" for row in of_split]
            assert numbers.values[place, index].tolist() == [values.count(value) for value in VALUES]
    for index, label in enumerate(dataset.labels):
        assert numbers.masked[index] == sum(not row[f"mask:{label}"] for row in rows)
        assert numbers.together[index, index] == sum(row[f"label:{label}"] == "positive" for row in rows)
    for groups in numbers.groups.values():
        assert sum(number for number, _ in groups.values()) == len(rows)
    assert set(numbers.groups["view"]) == {"PA", "AP"}
    assert set(numbers.groups["age"]) == {"18-39", "40-59"}
    assert sum(numbers.hints.values()) == sum(len(row["regions"]) for row in rows)


def test_the_card_is_written_again_to_the_same_bytes(dataset: DatasetFolder, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_card(dataset, tmp_path / name)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")
    assert {path.stem for path in (tmp_path / "one" / "card").iterdir()} == PLOTS
    text = (tmp_path / "one" / "card.md").read_text("utf-8")
    assert set(re.findall(r"\(card/(\w+)\.png\)", text)) == PLOTS


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_page_needs_nothing_else(dataset: DatasetFolder, tmp_path: Path) -> None:
    write_card(dataset, tmp_path)
    page = _Page()
    page.feed((tmp_path / "card.html").read_text("utf-8"))
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == len(PLOTS)
    assert all((image["src"] or "").startswith("data:image/png;base64,") and image["alt"] for image in images)
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "iframe")]


def test_the_card_says_what_was_done(built: BuildSummary) -> None:
    text = (built.output / "card.md").read_text("utf-8")
    info = built.info
    for word in (info.policy_digest, info.model["digest"], *info.digests.values(), info.key_id or "", "not stated"):
        assert word in text
    for label in info.labels:
        assert f"| {label} |" in text
    assert MARK not in text
    assert "of the day" not in text


def test_the_command_writes_it_elsewhere(built: BuildSummary, tmp_path: Path) -> None:
    ran = CliRunner().invoke(app, ["dataset", "card", str(built.output), "-o", str(tmp_path / "published")])
    assert ran.exit_code == 0
    assert ran.stdout.strip() == str(tmp_path / "published" / "card.html")
    assert (tmp_path / "published" / "card" / "funnel.png").is_file()
