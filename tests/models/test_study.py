"""From findings to study labels: priorities, withdrawal, addendum, No Finding, and the two read-outs."""

import pytest

from corpora.findings import Assertion
from corpora.reports import Report
from corpora.vocabulary import Vocabulary
from models.text.study import StudyReader
from models.text.teacher import RuleTeacher


@pytest.fixture(scope="module")
def study_reader(vocabulary: Vocabulary) -> StudyReader:
    return StudyReader(vocabulary, [vocabulary.label_set("chexpert14"), vocabulary.label_set("nih14")])


def values(teacher: RuleTeacher, reader: StudyReader, text: str, label_set: str = "chexpert14") -> dict[str, str]:
    labels = reader.labels(teacher.read(Report("r", text)))[label_set]
    return {name: label.value.value for name, label in labels.items() if label.value is not None}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Left effusion. No right effusion.", {"Pleural Effusion": "positive"}),
        ("FINDINGS: Possible left effusion.\nIMPRESSION: No effusion.",
         {"Pleural Effusion": "negative", "No Finding": "positive"}),
        # A denial of new or large ones withdraws nothing.
        ("FINDINGS: Small left effusion.\nIMPRESSION: No large effusion.", {"Pleural Effusion": "positive"}),
        ("FINDINGS: Left effusion.\nIMPRESSION: No right effusion.", {"Pleural Effusion": "positive"}),
        ("FINDINGS: No pneumothorax.\nADDENDUM: There is a small pneumothorax.", {"Pneumothorax": "positive"}),
        ("IMPRESSION: Pneumothorax.\nADDENDUM: No pneumothorax.",
         {"Pneumothorax": "negative", "No Finding": "positive"}),
        ("Endotracheal tube in place. Scoliosis.", {"Support Devices": "positive", "No Finding": "positive"}),
        ("Possible pneumonia.", {"Pneumonia": "uncertain"}),
        ("MRI knee: joint effusion.", {}),
    ],
)  # fmt: skip
def test_study_values(teacher: RuleTeacher, study_reader: StudyReader, text: str, expected: dict[str, str]) -> None:
    assert values(teacher, study_reader, text) == expected


def test_no_finding_is_never_negative_or_uncertain(teacher: RuleTeacher, study_reader: StudyReader) -> None:
    for text in ("Left effusion.", "Possible effusion.", "No effusion."):
        assert values(teacher, study_reader, text).get("No Finding") in (None, "positive")


def test_evidence_points_at_the_findings_that_decided(teacher: RuleTeacher, study_reader: StudyReader) -> None:
    reading = teacher.read(Report("r", "No left effusion. Small right effusion."))
    label = study_reader.labels(reading)["chexpert14"]["Pleural Effusion"]
    assert [reading.findings[i].finding.assertion for i in label.evidence] == [Assertion.POSITIVE]
    assert label.basis == "span"


def test_coded_read_out_takes_alternatives_and_leaves_modal_hedges(
    teacher: RuleTeacher, study_reader: StudyReader
) -> None:
    assert values(teacher, study_reader, "Atelectasis or pneumonia.", "nih14") == {
        "Atelectasis": "positive",
        "Pneumonia": "positive",
    }
    assert values(teacher, study_reader, "Findings may represent atelectasis.", "nih14") == {}
