"""What must hold for any rows: order, repetition and strangers change nothing, and counts always add up."""

import random
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from corpora.linking import Outcome, Versions, normalise_identifier
from tests.corpora.linking.small import Result, Row, image, link, report

NUMBERS = st.sampled_from(["A1", " a1", "A2", "0A1", "A*", "\u04101", None])
PATIENTS = st.sampled_from(["P1", "P2", None])
ISSUERS = st.sampled_from(["N", "S", ""])
UIDS = st.sampled_from(["1", "2", ""])
DAYS = st.sampled_from(["2020-01-01", "2020-01-02", "2021-06-01", ""])
STATUSES = st.sampled_from(["P", "F", "C", "addendum", "X", ""])
SETTINGS: st.SearchStrategy[dict[str, object]] = st.builds(
    dict,
    ignore_leading_zeros=st.booleans(),
    patient_date_window_days=st.sampled_from([None, 1]),
    require_patient=st.booleans(),
    versions=st.sampled_from(Versions),
)


@st.composite
def reports(draw: st.DrawFn) -> list[Row]:
    count = draw(st.integers(1, 6))
    return [
        report(
            f"r{draw(st.integers(0, count))}",
            draw(NUMBERS),
            draw(PATIENTS),
            issuer=draw(ISSUERS),
            uid=draw(UIDS),
            day=draw(DAYS),
            status=draw(STATUSES),
            time=draw(DAYS),
        )
        for _ in range(count)
    ]


@st.composite
def images(draw: st.DrawFn) -> list[Row]:
    return [
        image(
            draw(st.sampled_from(["1", "2", "3", None])),
            draw(NUMBERS),
            draw(PATIENTS),
            issuer=draw(ISSUERS) or None,
            day=draw(DAYS),
            image_id=f"i{draw(st.integers(0, 9))}",
            file=f"f{index}",
        )
        for index in range(draw(st.integers(1, 6)))
    ]


def outputs(found: Result) -> tuple[object, ...]:
    """Return all that linking said, without the places of rows."""
    listed = sorted(
        tuple(value for name, value in row.items() if name != "report_row")
        for row in found.csv("unlinked_reports.csv")
        if row["outcome"] != "duplicate"
    )
    return (found.folder / "linked.parquet").read_bytes(), listed, found.csv("unlinked_studies.csv")


@given(reports(), images(), SETTINGS, st.randoms(use_true_random=False))
@settings(max_examples=8)
def test_order_and_repetition_change_nothing(
    some: list[Row], seen: list[Row], chosen: dict[str, object], chance: random.Random
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        first = outputs(link(Path(folder), some, seen, **chosen))
        shuffled, mixed = [*some, *some[:2]], [*seen, *seen[:2]]
        chance.shuffle(shuffled)
        chance.shuffle(mixed)
        assert outputs(link(Path(folder), shuffled, mixed, **chosen)) == first


@given(reports(), images(), SETTINGS)
@settings(max_examples=8)
def test_stranger_changes_nothing_and_counts_add_up(
    some: list[Row], seen: list[Row], chosen: dict[str, object]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = link(Path(folder), some, seen, **chosen)
        before = found.links
        assert sum(found.summary.of("reports", outcome) for outcome in Outcome) == len(some)
        assert found.summary.totals["distinct_images"] + found.summary.totals["image_copies"] == len(seen)
        strangers = [*seen, image("9", "Z9", "P9", day="2020-01-01"), image(None, "Z8", "P9", image_id="z8")]
        assert link(Path(folder), some, strangers, **chosen).links == before


@given(reports(), images(), SETTINGS)
@settings(max_examples=8)
def test_linked_rows_contradict_nothing(some: list[Row], seen: list[Row], chosen: dict[str, object]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        links = link(Path(folder), some, seen, **chosen).links
    of_image = {str(row["image_id"]): row for row in seen}
    for report_id, image_id in links:
        rows = [row for row in some if row["report_id"] == report_id]
        patients = {row["patient_id"] for row in (*rows, of_image[image_id])} - {None}
        assert len(patients) <= 1


@given(st.text())
def test_normalising_twice_is_normalising_once(text: str) -> None:
    once = normalise_identifier(text)
    assert normalise_identifier(once) == once


@given(st.text(alphabet=st.characters(codec="ascii")), st.integers(0, 5))
def test_spaces_and_case_never_count(text: str, place: int) -> None:
    assert normalise_identifier(f"{text[:place]} \t{text[place:]}".swapcase()) == normalise_identifier(text)


def test_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    def run() -> dict[str, bytes]:
        found = link(tmp_path, [report("r"), report("s", "A7")], [image("1"), image("2", "A2")])
        return {path.name: path.read_bytes() for path in found.folder.iterdir()}

    assert run() == run()
