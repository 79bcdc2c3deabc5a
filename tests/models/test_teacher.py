"""What the rule teacher reads: assertions, attributes, sections, and what kind of text it is given."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora.findings import Finding, Status
from corpora.reports import Report, SectionKind
from corpora.vocabulary import Vocabulary
from models.text.teacher import RuleTeacher


def findings_of(teacher: RuleTeacher, text: str) -> list[Finding]:
    return [item.finding for item in teacher.read(Report("r", text)).findings]


def assertions_of(teacher: RuleTeacher, text: str) -> dict[str, str]:
    return {f.concept_id: f.assertion.value for f in findings_of(teacher, text)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No pneumothorax, small left effusion.", {"pneumothorax": "negative", "pleural_effusion": "positive"}),
        ("No change in the right effusion.", {"pleural_effusion": "positive"}),
        ("Effusion has not resolved.", {"pleural_effusion": "positive"}),
        ("Pneumonia cannot be excluded.", {"pneumonia": "uncertain"}),
        ("Neither effusion nor pneumothorax is seen.", {"pleural_effusion": "negative", "pneumothorax": "negative"}),
        ("The heart is not enlarged.", {"cardiomegaly": "negative"}),
        ("Atelectasis versus pneumonia.", {"atelectasis": "uncertain", "pneumonia": "uncertain"}),
        ("Pneumothorax | No", {"pneumothorax": "negative"}),
        ("History of pneumonia.", {}),
        ("Ankle edema.", {"soft_tissue_edema": "positive"}),
        ("Mass in the left breast.", {"breast_mass": "positive"}),
        ("Interval clearing of the infiltrate with minimal residual atelectasis.",
         {"infiltrate": "negative", "atelectasis": "positive"}),
        ("Subtle fractures can be missed.", {}),
        # Found in training reports: a longer cue once swallowed the negation.
        ("The lungs are grossly clear of airspace disease, pneumothorax, or effusion.",
         {"airspace_disease": "negative", "pneumothorax": "negative", "pleural_effusion": "negative"}),
        ("Blunting, which could represent a small effusion.", {"pleural_effusion": "uncertain"}),
        # Found by the grammar: each of these was once read the other way round.
        ("The study is negative for pneumothorax.", {"pneumothorax": "negative"}),
        ("R/O pneumonia.", {}),
        ("W/O effusion.", {"pleural_effusion": "negative"}),
        ("No enlargement of the heart.", {"cardiomegaly": "negative"}),
        ("The heart is not increased in size.", {"cardiomegaly": "negative"}),
        ("No enlargement of the right effusion.", {"pleural_effusion": "positive"}),
        ("It is unclear whether there is a nodule.", {"lung_nodule": "uncertain"}),
        ("Pneumonia is felt to be unlikely.", {"pneumonia": "uncertain"}),
        ("No old granulomatous disease.", {"granulomatous_disease": "negative"}),
        ("There is a nodule and there is an azygos lobe.", {"lung_nodule": "positive", "azygos_lobe": "positive"}),
        ("Intrathoracic stomach.", {"hiatal_hernia": "positive"}),
        ("Shoulder prostheses.", {"joint_prosthesis": "positive"}),
    ],
)  # fmt: skip
def test_assertion(teacher: RuleTeacher, text: str, expected: dict[str, str]) -> None:
    assert assertions_of(teacher, text) == expected


def test_it_has_resolved_speaks_of_the_sentence_before(teacher: RuleTeacher) -> None:
    assert assertions_of(teacher, "Small left effusion. It has resolved.") == {"pleural_effusion": "negative"}


def test_it_is_stable_changes_nothing(teacher: RuleTeacher) -> None:
    assert assertions_of(teacher, "Small left effusion. It is stable.") == {"pleural_effusion": "positive"}


def test_borderline_is_its_own_hedge(teacher: RuleTeacher) -> None:
    for text in ("Borderline cardiomegaly.", "There is borderline cardiomegaly."):
        (finding,) = findings_of(teacher, text)
        assert (finding.assertion, finding.hedge) == ("uncertain", "borderline")


@pytest.mark.parametrize(
    ("text", "temporality", "severity"),
    [
        ("Nodule larger than 5 mm.", None, None),
        ("The effusion is larger than before.", "increased", None),
        ("Less extensive edema.", "decreased", None),
        ("Compared to the prior study, the effusion is larger.", "increased", None),
    ],
)
def test_change_and_degree(teacher: RuleTeacher, text: str, temporality: str | None, severity: str | None) -> None:
    (finding,) = findings_of(teacher, text)
    assert (finding.temporality, finding.severity) == (temporality, severity)


def test_attributes(teacher: RuleTeacher) -> None:
    (nodule,) = findings_of(teacher, "A stable 1.2 x 0.8 cm nodule in the left upper lobe.")
    assert (nodule.laterality, nodule.location, nodule.anatomy) == ("left", ("upper_lobe",), "lung")
    assert nodule.temporality == "stable"
    assert nodule.measurement is not None
    assert nodule.measurement.size_mm == (12.0, 8.0)


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("Bilateral effusions, right larger than left.", "temporality", None),
        ("Emphysema without acute disease.", "temporality", None),
        ("Compression fracture of L2.", "laterality", None),
        ("Small bowel obstruction.", "severity", None),
        ("Nodule not seen on the prior study.", "temporality", "new"),
        ("The opacity has nearly completely resolved.", "temporality", "improved"),
        ("No effusions.", "laterality", None),
        ("NG tube below the diaphragm, and left subclavian catheter.", "laterality", None),
    ],
)
def test_words_that_are_no_attribute(teacher: RuleTeacher, text: str, field: str, value: str | None) -> None:
    assert getattr(findings_of(teacher, text)[0], field) == value


def test_a_distance_is_no_size(teacher: RuleTeacher) -> None:
    (tube,) = findings_of(teacher, "Endotracheal tube tip 4 cm above the carina.")
    assert tube.measurement is None


def test_side_after_a_preposition_belongs_to_both_joined_findings(teacher: RuleTeacher) -> None:
    found = findings_of(teacher, "Atelectasis and consolidation in the right base.")
    assert {f.laterality for f in found} == {"right"}


def test_british_spelling_plural_and_typing_errors(teacher: RuleTeacher) -> None:
    assert assertions_of(teacher, "Interstitial oedema. Pleural effussions.") == {
        "pulmonary_edema": "positive",
        "pleural_effusion": "positive",
    }


def test_an_ordinary_word_is_not_corrected_to_a_finding(teacher: RuleTeacher) -> None:
    assert assertions_of(teacher, "No effusion after the injection.") == {"pleural_effusion": "negative"}


def test_indication_is_no_evidence(teacher: RuleTeacher) -> None:
    assert assertions_of(teacher, "INDICATION: pneumonia.\nFINDINGS: No effusion.") == {"pleural_effusion": "negative"}


@pytest.mark.parametrize("text", ["", "   \n", "...", "---"])
def test_report_without_text(teacher: RuleTeacher, text: str) -> None:
    assert teacher.read(Report("r", text)).status is Status.NO_TEXT


def test_report_whose_readable_sections_are_empty_has_no_text(teacher: RuleTeacher) -> None:
    report = Report.from_sections("r", [(SectionKind.INDICATION, "Cough, effusion."), (SectionKind.FINDINGS, " ")])
    assert teacher.read(report).status is Status.NO_TEXT


@pytest.mark.parametrize(
    "text",
    [
        "Dear Mr Smith, thank you for your payment. Sincerely, the billing office.",
        "Lorem ipsum dolor sit amet.",
        "Preheat the oven and add two cups of flour.",
    ],
)
def test_text_that_is_no_report(teacher: RuleTeacher, text: str) -> None:
    assert teacher.read(Report("r", text)).status is Status.NOT_APPLICABLE


def test_long_report_is_read_to_its_end(teacher: RuleTeacher) -> None:
    text = "FINDINGS: " + "The lungs are clear. " * 20_000 + "Small left pneumothorax."
    found = findings_of(teacher, text)
    assert found[-1].concept_id == "pneumothorax"
    assert found[-1].end == len(text) - 1


def test_reading_does_not_depend_on_the_cache(vocabulary: Vocabulary, teacher: RuleTeacher) -> None:
    uncached = RuleTeacher(vocabulary, cache_size=0)
    text = "Small left effusion. It has resolved. HEART: Enlarged. No pneumothorax or edema."
    for _ in range(2):
        assert teacher.read(Report("r", text)) == uncached.read(Report("r", text))


def test_cache_is_bounded(vocabulary: Vocabulary) -> None:
    small = RuleTeacher(vocabulary, cache_size=4)
    for number in range(50):
        small.read(Report("r", f"Nodule number {number} in the lung."))
    assert len(small.sentences._cache) == 4


PHRASES = st.sampled_from(
    ["no", "effusion", "small", "left", "and", "or", ",", ".", "pneumothorax", "may represent", "heart", "is",
     "enlarged", "not seen", "It has resolved.", "HEART:", "normal", "in the", "base", "3 cm", "but", "\n",
     "history of", "if", "?", "/"]
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(PHRASES, max_size=25).map(" ".join))
def test_offsets_cut_the_original_text(teacher: RuleTeacher, text: str) -> None:
    for finding in findings_of(teacher, text):
        assert 0 <= finding.start < finding.end <= len(text)
        assert text[finding.start : finding.end] == finding.text


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_read_without_an_error(teacher: RuleTeacher, text: str) -> None:
    teacher.read(Report("r", text))
