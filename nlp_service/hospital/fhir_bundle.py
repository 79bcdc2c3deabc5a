"""A labeled report as a FHIR R4 Bundle of Observations.

The Bundle is a collection. It holds

- a Device: radlabel, its version and the digest of the model;
- a DocumentReference: the text that was read (not the text itself), related to the DiagnosticReport. It is there
  because an Observation can be derived from a document or an Observation, and not from a DiagnosticReport;
- an Observation for each finding: what, whether, where and how, with the evidence as components: words, place in the
  text, section, probability;
- an Observation for each label that has a value, derived from the findings that it rests on;
- an OperationOutcome where the report has none of these because it could not be read.

All Observations are preliminary: no person has looked at them. Narratives hold names of findings, nothing of the text.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from html import escape
from typing import TYPE_CHECKING, Any

from corpora.findings import Assertion, Finding, LabeledReport, Status, StudyLabel
from nlp_service._version import __version__
from nlp_service.hospital.fhir_codes import (
    ANATOMY,
    BASIS,
    CATEGORY,
    CONCEPT,
    DISPLAYS,
    LABEL_SET,
    LOINC,
    MODEL_DIGEST,
    UCUM,
    UMLS,
    Element,
    assertion_value,
    attribute,
    coding,
    component,
    concept,
)
from nlp_service.hospital.fhir_statements import operation_outcome

if TYPE_CHECKING:
    from corpora.vocabulary import Vocabulary
    from nlp_service.labeler import ModelInfo

NOT_READ = {
    Status.NO_TEXT: "the report has no text that could be labeled",
    Status.NOT_APPLICABLE: "the text is no radiology report, or is in a language that is not read",
    Status.ERROR: "the report could not be read",
}
_NAMES = ("id", "identifier")
_COPIED = ("subject", "encounter", "effectiveDateTime", "effectivePeriod")


def bundle_of(
    diagnostic_report: Mapping[str, Any],
    labeled: LabeledReport,
    vocabulary: Vocabulary,
    model: ModelInfo,
    *,
    now: dt.datetime | None = None,
) -> Element:
    """Return a Bundle with the labels and findings of a DiagnosticReport, ready for `json.dumps`.

    Subject, encounter and time are those of the report; what leads to a resource contained in it is left out, since it
    would lead nowhere from here. The same arguments give the same Bundle. ``now`` is when it was labeled.
    """
    return _Writer(diagnostic_report, labeled, vocabulary, model, now).bundle()


class _Writer:
    """Writes one Bundle."""

    def __init__(
        self,
        diagnostic_report: Mapping[str, Any],
        labeled: LabeledReport,
        vocabulary: Vocabulary,
        model: ModelInfo,
        now: dt.datetime | None,
    ) -> None:
        self._report = {
            name: kept
            for name, value in diagnostic_report.items()
            if name in (*_COPIED, *_NAMES) and (kept := _without_contained(value))
        }
        self._labeled = labeled
        self._vocabulary = vocabulary
        self._model = model
        self._now = now
        # Names of entries follow from what they are about. They are no secret, but nothing can be read out of them.
        given = json.dumps([diagnostic_report, model.digest], sort_keys=True, default=str)
        seed = blake2b(given.encode("utf-8", "replace"), digest_size=16)
        self._space = uuid.UUID(bytes=seed.digest())

    def bundle(self) -> Element:
        labeled = self._labeled
        resources = [("device", self._device()), ("document", self._document())]
        resources += [(f"finding/{i}", self._finding(finding)) for i, finding in enumerate(labeled.findings)]
        resources += [
            (f"label/{label_set}/{name}", self._label(label_set, name, label, label.value))
            for label_set, labels in labeled.labels.items()
            for name, label in labels.items()
            if label.value is not None
        ]
        if labeled.status is not Status.OK:
            outcome = operation_outcome(NOT_READ[labeled.status], issue="processing", severity="warning")
            resources.append(("outcome", outcome))
        return {
            "resourceType": "Bundle",
            "type": "collection",
            **({"timestamp": _instant(self._now)} if self._now else {}),
            "entry": [{"fullUrl": self._name(name), "resource": resource} for name, resource in resources],
        }

    def _name(self, name: str) -> str:
        return uuid.uuid5(self._space, name).urn

    def _device(self) -> Element:
        return {
            "resourceType": "Device",
            "text": _narrative("radlabel", "reads radiology reports"),
            "identifier": [{"system": MODEL_DIGEST, "value": self._model.digest}],
            "status": "active",
            "deviceName": [
                {"name": "radlabel", "type": "user-friendly-name"},
                {"name": self._model.name, "type": "model-name"},
            ],
            "type": {"text": "Software that labels radiology reports"},
            "version": [
                {"type": {"text": "software"}, "value": __version__},
                {"type": {"text": "model"}, "value": self._model.version},
            ],
            "note": [{"text": "For research; not a medical device."}],
        }

    def _document(self) -> Element:
        return {
            "resourceType": "DocumentReference",
            "text": _narrative("Report", "the text that was read"),
            "status": "current",
            "type": {"coding": [coding(LOINC, "18748-4", "Diagnostic imaging study")]},
            **({"subject": self._report["subject"]} if "subject" in self._report else {}),
            "content": [{"attachment": {"contentType": "text/plain", "title": "Text of the report as it was read"}}],
            "context": {"related": [self._reference_to_report()]},
        }

    def _reference_to_report(self) -> Element:
        reference: Element = {"type": "DiagnosticReport", "display": "The report that was given"}
        if self._report.get("id"):
            reference["reference"] = f"DiagnosticReport/{self._report['id']}"
        elif self._report.get("identifier"):
            reference["identifier"] = self._report["identifier"][0]
        return reference

    def _observation(self, name: str, code: Element, value: Assertion) -> Element:
        return {
            "resourceType": "Observation",
            "text": _narrative(name, DISPLAYS[value]),
            "status": "preliminary",
            "category": [concept(CATEGORY, "imaging", "Imaging")],
            "code": code,
            **{name: self._report[name] for name in _COPIED if self._report.get(name)},
            **({"issued": _instant(self._now)} if self._now else {}),
            **assertion_value(value),
            "device": {"reference": self._name("device")},
            "derivedFrom": [{"reference": self._name("document")}],
        }

    def _label(self, label_set: str, name: str, label: StudyLabel, value: Assertion) -> Element:
        codings = [coding(LABEL_SET + label_set, name, name), *self._cui_of_label(label_set, name)]
        observation = self._observation(name, {"coding": codings, "text": name}, value)
        observation["method"] = concept(BASIS, label.basis)
        observation["derivedFrom"] += [{"reference": self._name(f"finding/{i}")} for i in label.evidence]
        if label.probability is not None:
            observation["component"] = [
                component(f"probability-{of}", valueQuantity=_number(number))
                for of, number in label.probability.items()
            ]
        return observation

    def _cui_of_label(self, label_set: str, name: str) -> list[Element]:
        """Return the concept of a label that is one concept with all that are more specific."""
        known = self._vocabulary.label_sets.get(label_set)
        entry = next((entry for entry in known.labels if entry.name == name), None) if known else None
        if entry is None or len(entry.concepts) != 1 or entry.exclude:
            return []
        finding = self._vocabulary.findings[entry.concepts[0]]
        return [coding(UMLS, finding.cui, finding.name)] if finding.cui else []

    def _finding(self, finding: Finding) -> Element:
        name = finding.concept_name
        codings = [coding(UMLS, finding.cui, name)] if finding.cui else []
        codings.append(coding(CONCEPT, finding.concept_id, name))
        observation = self._observation(name, {"coding": codings, "text": name}, finding.assertion)
        place = next(iter(finding.location), finding.anatomy)
        if place is not None:
            side = f"{finding.laterality} " if finding.laterality else ""
            observation["bodySite"] = concept(
                ANATOMY, place, self._place(place), text=f"{side}{self._place(place).lower()}"
            )
        observation["component"] = [*self._components(finding)]
        return observation

    def _components(self, finding: Finding) -> Iterator[Element]:
        yield component("text", valueString=_string(finding.text))
        yield component("start", valueInteger=finding.start)
        yield component("end", valueInteger=finding.end)
        yield attribute("section", finding.section)
        yield component("sentence", valueInteger=finding.sentence)
        if finding.probability is not None:
            yield component("probability", valueQuantity=_number(finding.probability))
        if finding.anatomy is not None:
            yield component(
                "anatomy", valueCodeableConcept=concept(ANATOMY, finding.anatomy, self._place(finding.anatomy))
            )
        for place in finding.location:
            yield component("location", valueCodeableConcept=concept(ANATOMY, place, self._place(place)))
        for name in ("laterality", "severity", "temporality", "hedge"):
            value = getattr(finding, name)
            if value is not None:
                yield attribute(name, str(value))
        if finding.measurement is not None:
            for size in finding.measurement.size_mm:
                yield component("size", valueQuantity={"value": size, "unit": "mm", "system": UCUM, "code": "mm"})
            for given in finding.measurement.values:
                yield component("size-as-given", valueQuantity={"value": given, "unit": finding.measurement.unit})

    def _place_component(self, name: str, place: str) -> Element:
        return component(name, valueCodeableConcept=concept(ANATOMY, place, self._place(place)))

    def _place(self, place: str) -> str:
        known = self._vocabulary.anatomy.get(place)
        return known.name if known else place.replace("_", " ")


def _without_contained(value: Any) -> Any:
    """Return an element without references into the resource that it is of; ``None`` where nothing is left.

    They go whole: identifier and name of a contained patient were given for that resource alone.
    """
    if isinstance(value, Mapping):
        if str(value.get("reference", "")).startswith("#"):
            return None
        return {name: kept for name, part in value.items() if (kept := _without_contained(part)) is not None} or None
    if isinstance(value, list):
        return [kept for part in value if (kept := _without_contained(part)) is not None] or None
    return value


def _number(value: float) -> Element:
    return {"value": value, "system": UCUM, "code": "1"}


def _string(value: str) -> str:
    """Return text with plain spaces for what FHIR takes for no character of a string, at the same places."""
    return "".join(" " if (c.isspace() and c not in "\r\n\t") or (c < " " and c not in "\r\n\t") else c for c in value)


def _narrative(name: str, said: str) -> Element:
    return {
        "status": "generated",
        "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{escape(name)}: {escape(said)}</div>',
    }


def _instant(time: dt.datetime) -> str:
    return time.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
