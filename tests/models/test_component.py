"""The reader inside somebody else's spaCy pipeline."""

import spacy

from models.text.component import SPANS_KEY, render_findings

TEXT = "Small left pleural effusion. No pneumothorax."


def test_component_marks_findings_and_labels_the_document() -> None:
    import models.text.component  # noqa: F401  (registers the factory)

    nlp = spacy.blank("en")
    nlp.add_pipe("radlabel")
    doc = nlp(TEXT)
    assert [(span.text, span.label_) for span in doc.spans[SPANS_KEY]] == [
        ("pleural effusion", "positive:pleural_effusion"),
        ("pneumothorax", "negative:pneumothorax"),
    ]
    assert doc.spans[SPANS_KEY][0]._.finding.laterality == "left"
    assert doc._.study_labels["chexpert14"]["Pleural Effusion"] == "positive"
    assert doc._.report_status == "ok"


def test_displacy_view_shows_each_finding_in_its_colour() -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("radlabel")
    html = render_findings(nlp(TEXT))
    assert "positive Pleural effusion" in html
    assert "negative Pneumothorax" in html
    assert html.count("<mark") == 2


def test_text_that_is_no_report_gets_no_labels() -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("radlabel")
    doc = nlp("Preheat the oven.")
    assert doc._.study_labels == {}
    assert doc._.report_status == "not_applicable"
