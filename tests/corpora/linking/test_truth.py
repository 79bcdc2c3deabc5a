"""The truth test: what a messed world's rows link to, against what really took place."""

import csv
import datetime as dt
import json
import os
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from corpora.linking import LinkSettings, LinkSummary, Outcome, link_files
from tests.corpora.linking.world import World, make_world

FULL = bool(os.environ.get("RADLABEL_FULL"))
STUDIES = 100_000 if FULL else 5_000
SETTINGS = LinkSettings(ignore_leading_zeros=True)


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(STUDIES, seed=20261123)


@pytest.fixture(scope="module")
def run(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[LinkSummary, Path]:
    folder = tmp_path_factory.mktemp("truth")
    reports, index = world.write(folder)
    return link_files(reports, index, folder / "linked", settings=SETTINGS), folder / "linked"


def links(folder: Path) -> set[tuple[str, str]]:
    table = pq.read_table(folder / "linked.parquet", columns=["report_id", "study_instance_uid"])
    return set(zip(*(table.column(name).to_pylist() for name in table.column_names), strict=True))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_world_is_as_messed_as_it_should_be(world: World) -> None:
    """Without this, a generator that forgot a kind of mess would make the test below easy."""
    count = len(world.reports)
    numbers = [row.number for row in world.reports if row.number]
    studies = {row.study.uid: row.study for row in world.reports}.values()
    users = Counter((study.number, study.issuer) for study in studies)
    assert 0.01 < sum(number > 1 for number in users.values()) / len(studies) < 0.03
    assert len({study.issuer for study in studies}) == 2
    assert sum(not number.isascii() for number in numbers) / count > 0.03
    assert sum(row.is_wildcard for row in world.reports) / count > 0.005
    assert sum(row.is_swapped for row in world.reports) / count > 0.005
    assert {"addendum", "corrected", "preliminary", "cancelled"} <= {row.status for row in world.reports}
    assert world.repeated_rows > count / 100
    assert world.repeated_images > STUDIES / 50
    assert world.repeated_series > STUDIES / 100
    spaced = sum(number != "".join(number.split()) for number in numbers)
    assert spaced / count > 0.1
    assert sum(number != number.upper() for number in numbers) / count > 0.05
    padded = [row for row in world.reports if row.number and row.study.number.isdigit()]
    other_zeros = [row for row in padded if (row.number or "").isdigit() and row.number != row.study.number]
    assert len(other_zeros) / len(padded) > 0.03
    assert 0.02 < sum(row.number is None for row in world.reports) / count < 0.04


def test_nothing_wrong_links(world: World, run: tuple[LinkSummary, Path]) -> None:
    truth = world.truth
    assert [link for link in links(run[1]) if truth[link[0]] != link[1]] == []


def test_what_can_be_linked_is(world: World, run: tuple[LinkSummary, Path]) -> None:
    linkable = world.linkable()
    assert len(linkable) > STUDIES * 0.8
    truth, found = world.truth, links(run[1])
    linked = {report_id for report_id, _ in found}
    newest: dict[str, dt.datetime] = {}
    for row in world.reports:
        if row.report_id in linked and row.status in ("final", "corrected"):
            newest[row.study.uid] = max(row.time, newest.get(row.study.uid, row.time))
    times = {row.report_id: row.time for row in world.reports}
    # The oracle asks for certainty, the rules for no contradiction: where they link a later report that the oracle did
    # not dare to, the one that it expected is rightly superseded.
    missed = [
        report_id
        for report_id in linkable - linked
        if truth[report_id] not in newest or newest[truth[report_id]] <= times[report_id]
    ]
    assert 1 - len(missed) / len(linkable) >= 0.999


def test_wildcard_never_links_by_number(world: World, run: tuple[LinkSummary, Path]) -> None:
    wild = {row.report_id for row in world.reports if row.is_wildcard}
    table = pq.read_table(run[1] / "linked.parquet", columns=["report_id", "matched_by"])
    matched = {row["matched_by"] for row in table.to_pylist() if row["report_id"] in wild}
    assert matched <= {"study_instance_uid"}


def test_every_row_has_one_outcome_and_counts_add_up(world: World, run: tuple[LinkSummary, Path]) -> None:
    summary, folder = run
    assert summary.report_rows == len(world.reports)
    assert sum(summary.of("reports", outcome) for outcome in Outcome) == len(world.reports)
    unlinked = rows(folder / "unlinked_reports.csv")
    assert summary.of("reports", Outcome.LINKED) + len(unlinked) == len(world.reports)
    assert len({row["report_row"] for row in unlinked}) == len(unlinked)
    assert summary.of("reports", Outcome.DUPLICATE) == world.repeated_rows

    studies = {str(image["study_instance_uid"]) for image in world.images}
    assert summary.totals["studies"] == len(studies)
    linked = {uid for _, uid in links(folder)}
    listed = [row["study_instance_uid"] for row in rows(folder / "unlinked_studies.csv")]
    assert sorted([*linked, *listed]) == sorted(studies)

    assert summary.totals["image_rows"] == len(world.images)
    assert summary.totals["image_copies"] == len(world.images) - len({image["image_id"] for image in world.images})

    account = json.loads((folder / "link_report.json").read_text(encoding="utf-8"))
    for kind, total in (("reports", "report_rows"), ("studies", "studies"), ("images", "distinct_images")):
        parts = account[kind].values()
        assert sum(part["count"] for part in parts) == account["totals"][total]
        assert all(sum(part["reasons"].values()) == part["count"] for part in parts)
    assert account["settings"]["ignore_leading_zeros"] is True
    listed_reasons = Counter((row["outcome"], row["reason"]) for row in unlinked)
    assert listed_reasons == {
        (outcome, reason): number
        for outcome, part in account["reports"].items()
        for reason, number in part["reasons"].items()
        if outcome != "linked"
    }


def test_images_of_a_linked_study_all_appear_once(world: World, run: tuple[LinkSummary, Path]) -> None:
    table = pq.read_table(run[1] / "linked.parquet", columns=["report_id", "image_id", "study_instance_uid"])
    pairs = list(zip(table["report_id"].to_pylist(), table["image_id"].to_pylist(), strict=True))
    assert len(pairs) == len(set(pairs))
    held: dict[str, set[str]] = {}
    for image in world.images:
        held.setdefault(str(image["study_instance_uid"]), set()).add(str(image["image_id"]))
    got: dict[tuple[str, str], set[str]] = {}
    for row in table.to_pylist():
        got.setdefault((row["report_id"], row["study_instance_uid"]), set()).add(row["image_id"])
    assert all(images == held[uid] for (_, uid), images in got.items())


@pytest.mark.parametrize(
    "settings",
    [
        LinkSettings(),
        LinkSettings(ignore_leading_zeros=True, patient_date_window_days=1),
        LinkSettings(require_patient=True),
    ],
    ids=["zeros count", "patient and date too", "patient required"],
)
def test_nothing_wrong_links_under_other_settings(settings: LinkSettings, tmp_path: Path) -> None:
    world = make_world(2_000, seed=7)
    reports, index = world.write(tmp_path)
    link_files(reports, index, tmp_path / "linked", settings=settings)
    truth = world.truth
    found = links(tmp_path / "linked")
    assert len(found) > 1_000
    assert [link for link in found if truth[link[0]] != link[1]] == []
