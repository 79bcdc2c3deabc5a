"""Readings against codes, qualifiers and the semantics table: small readings with values worked out by hand."""

import json
from collections.abc import Iterable, Sequence

import pytest

from corpora.findings import Assertion, Finding, LabeledReport, Measurement, Status, StudyLabel
from corpora.reports import Report
from corpora.semantics import ExpectedFinding, SemanticCase
from corpora.vocabulary import Vocabulary
from corpora.vocabulary.schema import LabelEntry, LabelSet
from models.text.evaluate import evaluate_attributes, evaluate_codes, positives, score_semantics

HEADINGS = LabelSet(
    id="headings",
    name="Three headings",
    labels=(
        LabelEntry(name="Opacity", mesh=("Opacity",)),
        LabelEntry(name="Pleural Effusion", mesh=("Pleural Effusion",)),
        LabelEntry(name="Not coded"),
    ),
)


def finding(
    concept: str = "lung_opacity",
    assertion: Assertion = Assertion.POSITIVE,
    *,
    laterality: str | None = None,
    location: Sequence[str] = (),
    anatomy: str | None = None,
    severity: str | None = None,
    temporality: str | None = None,
    size_mm: tuple[float, ...] | None = None,
) -> Finding:
    return Finding(
        text="x",
        start=0,
        end=1,
        section="findings",
        sentence=0,
        concept_id=concept,
        concept_name=concept,
        cui=None,
        assertion=assertion,
        anatomy=anatomy,
        laterality=laterality,
        location=tuple(location),
        severity=severity,
        temporality=temporality,
        measurement=Measurement(size_mm, "mm", size_mm) if size_mm else None,
    )


def labeled(report_id: str, label_set: str = "headings", **findings: Iterable[Finding]) -> LabeledReport:
    """Return a report whose labels are positive by the findings given for each, in ``Pleural_Effusion`` spelling."""
    every: list[Finding] = []
    labels: dict[str, StudyLabel] = {}
    for name, of_label in findings.items():
        of_label = tuple(of_label)
        evidence = tuple(range(len(every), len(every) + len(of_label)))
        labels[name.replace("_", " ")] = StudyLabel(Assertion.POSITIVE, evidence=evidence)
        every += of_label
    return LabeledReport(report_id, Status.OK, labels={label_set: labels}, findings=tuple(every))


def test_labels_are_compared_with_those_of_the_codes() -> None:
    codes = {"1": ["Opacity/lung"], "2": ["Opacity/lung", "Pleural Effusion/left"], "3": ["normal"], "4": ["Opacity"]}
    read = [
        labeled("1", Opacity=[finding()]),
        labeled("2", Opacity=[finding()], Pleural_Effusion=[finding()]),
        labeled("3", Pleural_Effusion=[finding()]),
        LabeledReport("4", Status.NO_TEXT),  # nothing to read counts as negative
        labeled("5", Opacity=[finding()]),  # has no codes: not measured
    ]
    report = evaluate_codes(codes, read, HEADINGS, n_bootstrap=20)
    opacity, effusion = report.labels
    assert (opacity.true_positives, opacity.false_positives, opacity.false_negatives) == (2, 0, 1)
    assert (effusion.true_positives, effusion.false_positives, effusion.false_negatives) == (1, 1, 0)
    assert report.n_reports == 4


def test_uncertain_and_negative_labels_are_not_positive() -> None:
    values = {"a": StudyLabel(Assertion.UNCERTAIN), "b": StudyLabel(Assertion.NEGATIVE), "c": StudyLabel(None)}
    assert positives([LabeledReport("1", Status.OK, labels={"s": values})], "s") == {"1": frozenset()}


def test_report_that_was_not_labelled_is_an_error_and_no_negative() -> None:
    with pytest.raises(ValueError, match="1 of 2 reports with codes were not labelled"):
        evaluate_codes({"1": ["Opacity"], "2": ["normal"]}, [labeled("1")], HEADINGS)
    with pytest.raises(ValueError, match="the same id"):
        evaluate_codes({"1": ["Opacity"]}, [labeled("1"), labeled("1")], HEADINGS)


def test_label_set_without_headings_cannot_be_measured_by_codes(vocabulary: Vocabulary) -> None:
    with pytest.raises(ValueError, match="chexpert14 has no MeSH headings"):
        evaluate_codes({}, [], vocabulary.label_set("chexpert14"))


def test_hernia_is_scored_apart_from_the_thirteen_published_labels(vocabulary: Vocabulary) -> None:
    codes = {"1": ["Hernia, Hiatal"], "2": ["Cardiomegaly/mild"]}
    read = [labeled("1", "nih14", Hernia=[finding()]), labeled("2", "nih14", Cardiomegaly=[finding()])]
    report = evaluate_codes(codes, read, vocabulary.label_set("nih14"), n_bootstrap=10)
    assert len(report.labels) == 13
    assert report.micro.support == 1
    assert [(score.name, score.true_positives) for score in report.apart] == [("Hernia", 1)]


@pytest.mark.parametrize(
    ("codes", "sides", "is_right"),
    [
        (["Opacity/lung/left"], ["left"], True),
        (["Opacity/lung/left"], ["right"], False),
        (["Opacity/lung/left"], [None], False),
        (["Opacity/lung/left"], [None, "left"], True),
        (["Opacity/lung/left"], ["bilateral"], False),
        (["Opacity/lung/bilateral"], ["bilateral"], True),
        (["Opacity/lung/bilateral"], ["left", "right"], True),
        (["Opacity/lung/base/left", "Opacity/lung/apex/right"], ["bilateral"], True),
        (["Opacity/lung/base/left", "Opacity/lung/apex/right"], ["left"], False),
    ],
)
def test_sides_are_compared_as_sets(codes: list[str], sides: list[str | None], is_right: bool) -> None:
    read = labeled("1", Opacity=[finding(laterality=side) for side in sides])
    report = evaluate_attributes({"1": codes}, [read], HEADINGS, n_bootstrap=10)
    assert (report.side_accuracy, report.n_sides, report.n_sides_coded) == (float(is_right), 1, 1)


def test_sides_that_no_code_gives_and_findings_that_were_missed_do_not_count() -> None:
    codes = {"1": ["Opacity/lung"], "2": ["Opacity/lung/left"], "3": ["Pleural Effusion/right"], "4": ["normal"]}
    read = [
        labeled("1", Opacity=[finding(laterality="left")]),
        labeled("2"),
        labeled("3", Pleural_Effusion=[finding("pleural_effusion", laterality="right")]),
        labeled("4", Opacity=[finding(laterality="left")]),
    ]
    report = evaluate_attributes(codes, read, HEADINGS, n_bootstrap=10)
    assert (report.n_sides_coded, report.n_sides, report.side_accuracy) == (2, 1, 1.0)
    assert (report.n_places_coded, report.place_f1) == (0, None)
    assert [(row.heading, row.n_sides_coded, row.n_sides) for row in report.headings] == [
        ("Opacity", 1, 0),
        ("Pleural Effusion", 1, 1),
    ]


def test_places_are_brought_to_the_same_names_and_pooled() -> None:
    codes = {
        "1": ["Opacity/lung/lower lobe/right", "Opacity/lung/lingula"],
        "2": ["Opacity/lung/base/left"],
        "3": ["Pleural Effusion/pleura/base/left"],
        "4": ["Opacity/lung/patchy"],
    }
    read = [
        # Right lower lobe agrees, the left mid lung is what coders call the lingula, the hilum is one too many.
        labeled(
            "1",
            Opacity=[
                finding(location=["right_lower_lobe"], laterality="right", anatomy="lung"),
                finding(location=["mid_lung", "hilum"], laterality="left"),
            ],
        ),
        labeled("2", Opacity=[finding(laterality="left", anatomy="lung")]),  # the base was missed
        # That an effusion lies in the pleura is what the heading says: it counts on neither side.
        labeled("3", Pleural_Effusion=[finding(location=["lung_base"], anatomy="pleura")]),
        labeled("4", Opacity=[finding(location=["lung_base"])]),  # no code gives a place
    ]
    report = evaluate_attributes(codes, read, HEADINGS, n_bootstrap=10)
    assert (report.n_places_coded, report.n_places) == (3, 3)
    # Right: lower lobe, lingula, base of the effusion. Too many: hilum. Missed: base of the second report.
    assert (report.place_precision, report.place_recall, report.place_f1) == (3 / 4, 3 / 4, 3 / 4)
    assert report.headings[0].false_positives == 1


def test_attribute_intervals_do_not_depend_on_the_order_of_reports() -> None:
    codes = {str(i): ["Opacity/lung/base/left"] for i in range(40)}
    read = [
        labeled(str(i), Opacity=[finding(laterality="left" if i % 4 else None, location=["lung_base"])])
        for i in range(40)
    ]
    report = evaluate_attributes(codes, read, HEADINGS)
    assert report == evaluate_attributes(codes, reversed(read), HEADINGS)
    assert report.side_accuracy == 0.75
    assert report.side_low is not None
    assert report.side_high is not None
    assert report.side_low < 0.75 < report.side_high
    assert json.loads(json.dumps(report.as_dict()))["place_f1"] == 1.0


def test_no_reports_give_no_scores() -> None:
    report = evaluate_attributes({}, [], HEADINGS)
    assert (report.side_accuracy, report.side_low, report.place_f1, report.headings) == (None, None, None, ())
    assert evaluate_codes({}, [], HEADINGS, n_bootstrap=5).micro.f1 is None


def case(case_id: str, **given: object) -> SemanticCase:
    return SemanticCase.model_validate({"id": case_id, "text": f"Text of {case_id}.", "labels": {}} | given)


def chexpert(report_id: str, findings: Sequence[Finding] = (), **values: Assertion) -> LabeledReport:
    labels = {name.replace("_", " "): StudyLabel(value) for name, value in values.items()}
    return LabeledReport(report_id, Status.OK, labels={"chexpert14": labels}, findings=tuple(findings))


def test_cells_are_those_where_table_or_reading_has_a_value(vocabulary: Vocabulary) -> None:
    cases = [
        case("simple_001", labels={"Edema": "positive", "Pneumonia": "negative"}),
        case("simple_002", labels={"Edema": "uncertain"}),
        case("hedges_001"),
        case("not_reports_001", status="not_applicable"),
        case("not_reports_002", status="not_applicable"),
    ]
    read = {
        "simple_001": chexpert("simple_001", Edema=Assertion.POSITIVE, Pneumonia=Assertion.NEGATIVE),
        # One value is wrong, one is too many: two cells, none of them right.
        "simple_002": chexpert("simple_002", Edema=Assertion.POSITIVE, Fracture=Assertion.NEGATIVE),
        "hedges_001": chexpert("hedges_001"),  # nothing said, nothing read: right, and no cell
        "not_reports_001": LabeledReport("not_reports_001", Status.NOT_APPLICABLE),
        "not_reports_002": chexpert("not_reports_002"),  # took it for a report
    }

    def label(report: Report) -> LabeledReport:
        return read[report.report_id]

    report = score_semantics(cases, label, vocabulary)
    assert (report.overall.cells, report.overall.right_cells) == (4, 2)
    assert (report.overall.cases, report.overall.right_cases) == (5, 3)
    assert report.wrong == ("simple_002", "not_reports_002")
    assert [(c.category, c.case_accuracy, c.cell_accuracy) for c in report.categories] == [
        ("simple", 0.5, 0.5),
        ("hedges", 1.0, None),
        ("not_reports", 0.5, None),
    ]
    values = json.loads(json.dumps(report.as_dict()))
    assert values["overall"]["cell_accuracy"] == 0.5
    assert values["categories"][1]["cell_accuracy"] is None


def test_concepts_of_a_case_are_cells_by_their_strongest_mention(vocabulary: Vocabulary) -> None:
    cases = [case("devices_001", concepts={"scoliosis": "positive", "hiatal_hernia": "negative"})]
    findings = [
        finding("scoliosis", Assertion.NEGATIVE),
        finding("scoliosis", Assertion.POSITIVE),
        finding("hiatal_hernia", Assertion.UNCERTAIN),
    ]
    report = score_semantics(cases, lambda r: chexpert(r.report_id, findings), vocabulary)
    assert (report.overall.cells, report.overall.right_cells) == (2, 1)


@pytest.mark.parametrize(
    ("expected", "met"),
    [
        ({"laterality": "left"}, 1),
        ({"laterality": "left", "severity": "small", "size_mm": (12.0,)}, 3),
        ({"laterality": "right", "severity": "small"}, 1),
        ({"location": ("base",)}, 1),
        ({"location": ("apex",)}, 0),
        ({"temporality": "new"}, 0),
        ({}, 0),
    ],
)
def test_expected_attributes_are_met_by_the_mention_that_fits_best(
    vocabulary: Vocabulary, expected: dict[str, object], met: int
) -> None:
    wanted = ExpectedFinding.model_validate({"concept": "pleural_effusion"} | expected)
    findings = [
        finding("pleural_effusion"),
        finding("pleural_effusion", laterality="left", severity="small", location=["lung_base"], size_mm=(12.0,)),
        finding("lung_nodule", laterality="right", temporality="new"),
    ]
    one = case("simple_001", findings=(wanted,))
    report = score_semantics([one], lambda r: chexpert(r.report_id, findings), vocabulary)
    assert (report.overall.attributes, report.overall.right_attributes) == (len(expected), met)
    # Attributes are scored for themselves: a case can be right without them.
    assert report.overall.right_cases == 1
