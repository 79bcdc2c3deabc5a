"""The rules of docs/linking.md, one small world each: which reports link, and why the others do not."""

from pathlib import Path

import pytest

from corpora.linking import LinkSettings, LinkSettingsInvalid, SeveralStudies, Versions, normalise_identifier
from tests.corpora.linking.small import Row, image, link, report

Case = tuple[list[Row], list[Row], dict[str, object], set[tuple[str, str]], dict[str, tuple[str, str]]]
CASES: dict[str, Case] = {
    # name: (reports, images, settings, links, outcomes of the reports that do not link)
    "same number, same patient": ([report("r")], [image("1")], {}, {("r", "1.1")}, {}),
    "patient not known in the report": ([report("r", patient=None)], [image("1")], {}, {("r", "1.1")}, {}),
    "patient not known in the images": ([report("r")], [image("1", patient=None)], {}, {("r", "1.1")}, {}),
    "no number": ([report("r", number=None)], [image("1")], {}, set(), {"r": ("none", "no_identifier")}),
    "a word for no number": ([report("r", "N/A")], [image("1", "n/a")], {}, set(), {"r": ("none", "no_identifier")}),
    "zeros for no number": ([report("r", "000")], [image("1", "000")], {}, set(), {"r": ("none", "no_identifier")}),
    "number of no study": ([report("r", "A2")], [image("1")], {}, set(), {"r": ("none", "no_study")}),
    "spaces and case": ([report("r", " a 1")], [image("1", "A1 ")], {}, {("r", "1.1")}, {}),
    "leading zeros count": ([report("r", "0012")], [image("1", "12")], {}, set(), {"r": ("none", "no_study")}),
    "leading zeros do not count": (
        [report("r", "0012")],
        [image("1", "12")],
        {"ignore_leading_zeros": True},
        {("r", "1.1")},
        {},
    ),
    "two numbers that zeros made one": (
        [report("r", "0012", patient=None)],
        [image("1", "12"), image("2", "012", "P2")],
        {"ignore_leading_zeros": True},
        set(),
        {"r": ("conflicting", "accession_number_reused")},
    ),
    "star is a star": ([report("r", "A*")], [image("1", "A1")], {}, set(), {"r": ("none", "no_study")}),
    "question mark is one": ([report("r", "A?")], [image("1", "A1")], {}, set(), {"r": ("none", "no_study")}),
    "percent is percent": ([report("r", "A%")], [image("1", "A1")], {}, set(), {"r": ("none", "no_study")}),
    "underscore is one": ([report("r", "A_")], [image("1", "A1")], {}, set(), {"r": ("none", "no_study")}),
    "star on the images' side": ([report("r", "A1")], [image("1", "A*")], {}, set(), {"r": ("none", "no_study")}),
    "star equals star": ([report("r", "A*")], [image("1", "A*")], {}, {("r", "1.1")}, {}),
    "another patient": (
        [report("r", patient="P2")],
        [image("1")],
        {},
        set(),
        {"r": ("conflicting", "patient_disagrees")},
    ),
    "reused, patients known": (
        [report("r1"), report("r2", patient="P2")],
        [image("1"), image("2", patient="P2")],
        {},
        {("r1", "1.1"), ("r2", "2.1")},
        {},
    ),
    "reused, patient of the report not known": (
        [report("r", patient=None)],
        [image("1"), image("2", patient="P2")],
        {},
        set(),
        {"r": ("conflicting", "accession_number_reused")},
    ),
    "reused, as another report tells": (
        [report("r", patient=None), report("r2", patient="P2")],
        [image("1")],
        {},
        set(),
        {"r": ("conflicting", "accession_number_reused"), "r2": ("conflicting", "patient_disagrees")},
    ),
    "reused, patient of the images not known": (
        [report("r1"), report("r2", patient="P2")],
        [image("1", patient=None)],
        {},
        set(),
        dict.fromkeys(("r1", "r2"), ("conflicting", "accession_number_reused")),
    ),
    "issuers agree": ([report("r", issuer="North ")], [image("1", issuer="NORTH")], {}, {("r", "1.1")}, {}),
    "issuers disagree": (
        [report("r", issuer="North")],
        [image("1", issuer="South")],
        {},
        set(),
        {"r": ("conflicting", "issuer_disagrees")},
    ),
    "issuer on one side": ([report("r")], [image("1", issuer="South")], {}, {("r", "1.1")}, {}),
    "issuer tells two studies apart": (
        [report("r", patient=None, issuer="North")],
        [image("1", issuer="North"), image("2", patient="P2", issuer="South")],
        {},
        {("r", "1.1")},
        {},
    ),
    "issuer not known, patient is": (
        [report("r", patient="P2")],
        [image("1", issuer="North"), image("2", patient="P2", issuer="South")],
        {},
        {("r", "2.1")},
        {},
    ),
    "issuer not known, nor the patient": (
        [report("r", patient=None), report("s", "A1", "P1", issuer="South")],
        [image("1", issuer="North")],
        {},
        set(),
        {"r": ("conflicting", "issuer_ambiguous"), "s": ("conflicting", "issuer_disagrees")},
    ),
    "one patient, two studies": (
        [report("r")],
        [image("1"), image("2")],
        {},
        set(),
        {"r": ("several", "several_studies")},
    ),
    "one patient, two studies, both wanted": (
        [report("r")],
        [image("1"), image("2")],
        {"several_studies": SeveralStudies.LINK},
        {("r", "1.1"), ("r", "2.1")},
        {},
    ),
    "UID tells two studies apart": ([report("r", uid="2")], [image("1"), image("2")], {}, {("r", "2.1")}, {}),
    "UID alone": ([report("r", None, None, uid="1")], [image("1")], {}, {("r", "1.1")}, {}),
    "UID not looked at": (
        [report("r", None, None, uid="1")],
        [image("1")],
        {"use_study_instance_uid": False},
        set(),
        {"r": ("none", "no_identifier")},
    ),
    "UID of another patient": (
        [report("r", None, "P2", uid="1")],
        [image("1")],
        {},
        set(),
        {"r": ("conflicting", "patient_disagrees")},
    ),
    "UID fits, number does not, patient agrees": ([report("r", "B7", uid="1")], [image("1")], {}, {("r", "1.1")}, {}),
    "UID fits, number does not, patient not known": (
        [report("r", "B7", None, uid="1")],
        [image("1")],
        {},
        set(),
        {"r": ("conflicting", "accession_number_disagrees")},
    ),
    "UID and number name two studies": (
        [report("r", "A1", uid="2")],
        [image("1"), image("2", "A2")],
        {},
        set(),
        {"r": ("conflicting", "study_instance_uid_disagrees")},
    ),
    "number fits, UID is of no study": (
        [report("r", uid="7")],
        [image("1")],
        {},
        set(),
        {"r": ("conflicting", "study_instance_uid_disagrees")},
    ),
    "dates a year apart": (
        [report("r", day="2020-01-01")],
        [image("1", day="2021-01-01")],
        {},
        set(),
        {"r": ("conflicting", "date_disagrees")},
    ),
    "dates a year apart, and that is known": (
        [report("r", day="2020-01-01")],
        [image("1", day="2021-01-01")],
        {"max_days_apart": None},
        {("r", "1.1")},
        {},
    ),
    "signed three weeks later": (
        [report("r", day="2020-01-22")],
        [image("1", day="2020-01-01")],
        {},
        {("r", "1.1")},
        {},
    ),
    "signed a year later, study not dated": (
        [report("r", time="2021-01-01T10:00:00")],
        [image("1", day="2020-01-01")],
        {},
        set(),
        {"r": ("conflicting", "date_disagrees")},
    ),
    "addendum signed a year later": (
        [report("r", time="2021-01-01T10:00:00", status="addendum")],
        [image("1", day="2020-01-01")],
        {},
        {("r", "1.1")},
        {},
    ),
    "patient has to be known": (
        [report("r", patient=None)],
        [image("1")],
        {"require_patient": True},
        set(),
        {"r": ("conflicting", "patient_not_compared")},
    ),
    "images of two patients in one study": (
        [report("r")],
        [image("1"), image("1", patient="P2", image_id="1.2")],
        {},
        set(),
        {"r": ("conflicting", "headers_disagree")},
    ),
    "one image in two studies": (
        [report("r")],
        [image("1"), image("2", "A2", "P2", image_id="1.1")],
        {},
        set(),
        {"r": ("conflicting", "headers_disagree")},
    ),
    "patient and date, not asked for": (
        [report("r", None, day="2020-01-01")],
        [image("1", None, day="2020-01-01")],
        {},
        set(),
        {"r": ("none", "no_identifier")},
    ),
    "patient and date": (
        [report("r", None, day="2020-01-02")],
        [image("1", day="2020-01-01")],
        {"patient_date_window_days": 1},
        {("r", "1.1")},
        {},
    ),
    "patient and date, too far": (
        [report("r", None, day="2020-01-03")],
        [image("1", day="2020-01-01")],
        {"patient_date_window_days": 1},
        set(),
        {"r": ("none", "no_identifier")},
    ),
    "patient and date, two studies": (
        [report("r", None, day="2020-01-01")],
        [image("1", None, day="2020-01-01"), image("2", None, day="2020-01-02")],
        {"patient_date_window_days": 1},
        set(),
        {"r": ("several", "several_within_window")},
    ),
    "patient and date, two reports": (
        [report("r", None, day="2020-01-01"), report("s", None, day="2020-01-02")],
        [image("1", None, day="2020-01-01")],
        {"patient_date_window_days": 1},
        set(),
        dict.fromkeys("rs", ("several", "several_within_window")),
    ),
    "patient and date, but two different numbers": (
        [report("r", "B7", day="2020-01-01")],
        [image("1", day="2020-01-01")],
        {"patient_date_window_days": 1},
        set(),
        {"r": ("none", "no_study")},
    ),
    "patient and date, but the study has its report": (
        [report("r", None, day="2020-01-01"), report("s", day="2020-01-01")],
        [image("1", day="2020-01-01")],
        {"patient_date_window_days": 1},
        {("s", "1.1")},
        {"r": ("none", "no_identifier")},
    ),
    "patient and date, another modality": (
        [{**report("r", None, day="2020-01-01")}],
        [image("1", None, "P2", day="2020-01-01", modality="CT")],
        {"patient_date_window_days": 1},
        set(),
        {"r": ("none", "no_identifier")},
    ),
    "one report id for two studies": (
        [report("r"), report("r", "A2", "P2")],
        [image("1"), image("2", "A2", "P2")],
        {},
        set(),
        {"r": ("conflicting", "report_id_repeated")},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_rule(name: str, tmp_path: Path) -> None:
    reports, images, settings, links, outcomes = CASES[name]
    found = link(tmp_path, reports, images, **settings)
    assert (found.links, found.reports) == (links, outcomes)


DRAFT, FINAL, CORRECTED, ADDENDUM = (
    report(name, status=name, time=f"2024-03-0{day}T10:00:00")
    for day, name in enumerate(("preliminary", "final", "corrected", "addendum"), start=1)
)
OLD = dict.fromkeys(("final", "corrected"), ("superseded", "older_version"))
DRAFTED = {"preliminary": ("superseded", "preliminary")}


@pytest.mark.parametrize(
    ("reports", "linked", "others"),
    [
        ([DRAFT], {"preliminary"}, {}),
        ([DRAFT, FINAL], {"final"}, DRAFTED),
        ([FINAL, ADDENDUM], {"final", "addendum"}, {}),
        ([DRAFT, FINAL, CORRECTED, ADDENDUM], {"corrected", "addendum"}, {**DRAFTED, "final": OLD["final"]}),
        ([report("a", time="2024-03-01"), report("b", time="2024-03-02")], {"b"}, {"a": OLD["final"]}),
        # what says nothing of its order stays: the labels of both are of this study
        ([report("a"), report("b")], {"a", "b"}, {}),
        ([report("a"), report("b", status="C")], {"b"}, {"a": OLD["final"]}),
        ([report("a", status="entered-in-error")], set(), {"a": ("superseded", "cancelled")}),
        ([report("a", status="X"), FINAL], {"final"}, {"a": ("superseded", "cancelled")}),
        ([FINAL, FINAL], {"final"}, {"final": ("duplicate", "same_row")}),
    ],
)
def test_of_several_reports_the_latest_final_one_and_addenda_link(
    reports: list[dict[str, object]], linked: set[str], others: dict[str, tuple[str, str]], tmp_path: Path
) -> None:
    found = link(tmp_path, reports, [image("1")])
    assert ({report_id for report_id, _ in found.links}, found.reports) == (linked, others)


def test_all_reports_link_on_request(tmp_path: Path) -> None:
    found = link(tmp_path, [DRAFT, FINAL, CORRECTED, ADDENDUM], [image("1")], versions=Versions.ALL)
    assert {report_id for report_id, _ in found.links} == {"preliminary", "final", "corrected", "addendum"}


def test_study_of_a_cancelled_report_says_so(tmp_path: Path) -> None:
    found = link(tmp_path, [report("a", status="cancelled")], [image("1"), image("2", "A2"), image("3", None)])
    assert found.studies == {
        "1": ("none", "only_cancelled_reports"),
        "2": ("none", "no_report"),
        "3": ("none", "no_identifier"),
    }


def test_copies_of_an_image_count_once(tmp_path: Path) -> None:
    found = link(tmp_path, [report("r")], [image("1", file="b/1.dcm"), image("1", file="a/1.dcm"), image("1")])
    [row] = found.table()
    assert row["file"] == "1.1.dcm"
    assert found.summary.totals["image_copies"] == 2
    assert found.summary.totals["distinct_images"] == 1


def test_pictures_without_uids_are_studies_by_number_and_patient(tmp_path: Path) -> None:
    images = [image(None, image_id="a"), image(None, image_id="b"), image(None, "A2", image_id="c")]
    found = link(tmp_path, [report("r"), report("s", "A2")], images)
    assert found.links == {("r", "a"), ("r", "b"), ("s", "c")}
    assert found.summary.totals["studies"] == 2


def test_number_on_very_many_studies_is_none(tmp_path: Path) -> None:
    images = [image(str(index), "SEE-RIS", f"P{index}") for index in range(60)]
    found = link(tmp_path, [report("r", "SEE-RIS", "P7")], images)
    assert found.reports == {"r": ("conflicting", "accession_number_overused")}
    assert set(found.studies.values()) == {("conflicting", "accession_number_overused")}


def test_link_says_whether_the_patient_was_compared(tmp_path: Path) -> None:
    found = link(tmp_path, [report("r"), report("s", "A2", None)], [image("1"), image("2", "A2", "P2")])
    assert {row["report_id"]: row["patient_check"] for row in found.table()} == {"r": "agrees", "s": "not_compared"}
    assert found.summary.totals["pairs_with_patient_agreeing"] == 1


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("AC-12", "ac\u201312", True),  # en dash
        ("AC12", "\u0410\u042112", True),  # Cyrillic
        ("\u0412X1", "\u0432x1", True),  # Cyrillic, both cases
        ("X\u200b12\u00a0", "x12", True),  # zero-width and no-break space
        ("12", "\u0661\u0662", True),  # Arabic-Indic digits
        ("12", "\uff11\uff12", True),  # wide digits
        ("O1", "01", False),
        ("I1", "11", False),
        ("A-1", "A1", False),
        ("A.1", "A1", False),
        ("A*", "A1", False),
    ],
)
def test_normalised_forms(one: str, other: str, is_same: bool) -> None:
    assert (normalise_identifier(one) == normalise_identifier(other)) is is_same


@pytest.mark.parametrize("nothing", ["", "  ", "-", "?", "*", "0", "000", "None", "unknown", "N/A", "\u200b", None])
def test_nothing_is_nothing(nothing: str | None) -> None:
    assert normalise_identifier(nothing) is None


@pytest.mark.parametrize("bad", [{"patient_date_window_days": 99}, {"max_days_apart": -1}])
def test_settings_without_meaning_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(LinkSettingsInvalid, match=next(iter(bad))):
        LinkSettings(**bad)  # type: ignore[arg-type]
