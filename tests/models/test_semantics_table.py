"""The rule teacher on the semantics table, category by category: the table is its specification."""

import pytest

from corpora.findings import LabeledReport
from corpora.reports import Report
from corpora.semantics import CATEGORIES, load_cases
from corpora.vocabulary import Vocabulary
from models.text.evaluate import SemanticsReport, score_semantics
from models.text.study import StudyReader
from models.text.teacher import RuleTeacher


@pytest.fixture(scope="module")
def scores(teacher: RuleTeacher, vocabulary: Vocabulary) -> SemanticsReport:
    study_reader = StudyReader(vocabulary, [vocabulary.label_set("chexpert14")])

    def label(report: Report) -> LabeledReport:
        reading = teacher.read(report)
        labels = study_reader.labels(reading) if reading.status == "ok" else {}
        findings = tuple(item.finding for item in reading.findings)
        return LabeledReport(report.report_id, reading.status, None, labels, findings)

    return score_semantics(load_cases(), label, vocabulary)


@pytest.mark.parametrize("category", CATEGORIES)
def test_category_is_read_as_the_table_says(scores: SemanticsReport, category: str) -> None:
    [score] = [score for score in scores.categories if score.category == category]
    wrong = [case for case in scores.wrong if case.startswith(category)]
    assert score.cases >= 15
    assert score.case_accuracy >= 0.9, wrong
    assert score.cell_accuracy is None or score.cell_accuracy >= 0.9, wrong


def test_whole_table_is_read_as_it_says(scores: SemanticsReport) -> None:
    assert scores.overall.cell_accuracy is not None
    assert scores.overall.cell_accuracy >= 0.98, scores.wrong
    assert scores.overall.case_accuracy >= 0.98, scores.wrong


def test_expected_attributes_are_read(scores: SemanticsReport) -> None:
    assert scores.overall.right_attributes / scores.overall.attributes >= 0.9
