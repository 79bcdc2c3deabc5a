"""The reader as a spaCy pipeline component: ``nlp.add_pipe("radlabel")``.

Works behind any tokenizer: it reads ``doc.text`` and lays the findings over the tokens that cover them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc, Span

from corpora.findings import Finding, Status
from corpora.reports import Report
from corpora.vocabulary import load_vocabulary
from models.text.encoder.engine import EncoderReader
from models.text.encoder.folder import shipped_model
from models.text.study import StudyReader
from models.text.teacher import RuleTeacher

SPANS_KEY = "radlabel"
_COLOURS = {"positive": "#f4a6a6", "negative": "#a8d5a2", "uncertain": "#f6d58f"}


class RadlabelComponent:
    """Adds the findings of a report to its document.

    ``doc.spans["radlabel"]`` holds one span a finding, labelled ``<assertion>:<concept id>`` and carrying the whole
    record as ``span._.finding``; ``doc._.study_labels`` maps label set and label to the study's value,
    ``doc._.report_status`` is ok, no_text or not_applicable.
    """

    def __init__(self, label_sets: Sequence[str], vocabulary: Sequence[str], reader: str, model: str | None) -> None:
        loaded = load_vocabulary(tuple(Path(path) for path in vocabulary))
        chosen = [loaded.label_set(name) for name in label_sets]
        self._reader: RuleTeacher | EncoderReader
        if reader == "rules":
            self._reader = RuleTeacher(loaded)
            self._study_reader = StudyReader(loaded, chosen)
        elif reader == "encoder":
            self._reader = EncoderReader(Path(model) if model else shipped_model(), loaded)
            self._study_reader = StudyReader(loaded, chosen, self._reader.readout)
        else:
            raise ValueError(f"reader must be 'encoder' or 'rules', not {reader!r}")
        if not Doc.has_extension("study_labels"):
            Doc.set_extension("study_labels", default=None)
            Doc.set_extension("report_status", default=None)
        if not Span.has_extension("finding"):
            Span.set_extension("finding", default=None)

    def __call__(self, doc: Doc) -> Doc:
        """Read the document's text; return the same document with spans and labels set."""
        reading = self._reader.read(Report("doc", doc.text))
        spans = []
        for item in reading.findings:
            finding = item.finding
            label = f"{finding.assertion.value}:{finding.concept_id}"
            span = doc.char_span(finding.start, finding.end, label=label, alignment_mode="expand")
            if span is not None:
                span._.finding = finding
                spans.append(span)
        doc.spans[SPANS_KEY] = spans
        labels = self._study_reader.labels(reading) if reading.status is Status.OK else {}
        doc._.study_labels = {
            label_set: {name: label.value.value if label.value else None for name, label in values.items()}
            for label_set, values in labels.items()
        }
        doc._.report_status = reading.status.value
        return doc


@Language.factory(
    "radlabel", default_config={"label_sets": ["chexpert14"], "vocabulary": [], "reader": "encoder", "model": None}
)
def make_radlabel(
    nlp: Language, name: str, label_sets: list[str], vocabulary: list[str], reader: str, model: str | None
) -> RadlabelComponent:
    """Return the component; the options are as in `nlp_service.Labeler`."""
    return RadlabelComponent(label_sets, vocabulary, reader, model)


def render_findings(doc: Doc, *, page: bool = False) -> str:
    """Return the document as displaCy's HTML: each finding marked in the colour of its assertion."""
    from spacy import displacy

    shown: list[dict[str, Any]] = []
    for span in doc.spans.get(SPANS_KEY, ()):
        finding: Finding = span._.finding
        shown.append(
            {"start": finding.start, "end": finding.end, "label": f"{finding.assertion.value} {finding.concept_name}"}
        )
    labels = {entry["label"] for entry in shown}
    colours = {label: _COLOURS[label.partition(" ")[0]] for label in labels}
    ends: list[dict[str, Any]] = []
    last = 0
    for entry in sorted(shown, key=lambda e: (e["start"], -e["end"])):
        # displaCy draws entities one after the other: of two that overlap the first is shown.
        if entry["start"] >= last:
            ends.append(entry)
            last = entry["end"]
    html = displacy.render(
        {"text": doc.text, "ents": ends, "title": None},
        style="ent",
        manual=True,
        page=page,
        jupyter=False,
        options={"colors": colours},
    )
    return str(html)
