"""The codes of the Bundles that are answered: systems of others by their public names, radlabel's own as URNs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from corpora.findings import Assertion

Element = dict[str, Any]

UMLS = "http://terminology.hl7.org/CodeSystem/umls"
INTERPRETATION = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"

CONCEPT = "urn:radlabel:concept"
ANATOMY = "urn:radlabel:anatomy"
ASSERTION = "urn:radlabel:assertion"
ATTRIBUTE = "urn:radlabel:attribute"
BASIS = "urn:radlabel:basis"
LABEL_SET = "urn:radlabel:label-set:"
MODEL_DIGEST = "urn:radlabel:model-digest"

DISPLAYS: Mapping[Assertion, str] = MappingProxyType(
    {Assertion.POSITIVE: "present", Assertion.NEGATIVE: "absent", Assertion.UNCERTAIN: "possible"}
)
INTERPRETATIONS: Mapping[Assertion, str] = MappingProxyType(
    {Assertion.POSITIVE: "POS", Assertion.NEGATIVE: "NEG", Assertion.UNCERTAIN: "IND"}
)


def concept(system: str, code: str, display: str | None = None, *, text: str | None = None) -> Element:
    """Return a CodeableConcept of one coding."""
    return {"coding": [coding(system, code, display)], "text": text or display or code.replace("_", " ")}


def coding(system: str, code: str, display: str | None = None) -> Element:
    """Return a Coding; a FHIR code has single spaces within it and none around."""
    return {"system": system, "code": " ".join(code.split()), **({"display": display} if display else {})}


def assertion_value(value: Assertion) -> Element:
    """Return what an Observation says of an assertion: its value, and its interpretation in HL7's words."""
    return {
        "valueCodeableConcept": concept(ASSERTION, value.value, DISPLAYS[value]),
        "interpretation": [{"coding": [coding(INTERPRETATION, INTERPRETATIONS[value])]}],
    }


def component(name: str, **value: object) -> Element:
    """Return a component of an Observation: an attribute of radlabel's with its value."""
    return {"code": concept(ATTRIBUTE, name, text=name.replace("-", " ")), **value}


def attribute(name: str, value: str) -> Element:
    """Return a component whose value is one of a closed set: ``severity`` *small*."""
    return component(name, valueCodeableConcept=concept(f"urn:radlabel:{name}", value))


def code_of(concept: object, system: str) -> str | None:
    """Return the code that a CodeableConcept has in a system."""
    found = _coding_of(concept, system)
    return None if found is None else str(found.get("code"))


def display_of(concept: object, system: str) -> str | None:
    """Return the display that a CodeableConcept has in a system, or else the code."""
    found = _coding_of(concept, system)
    return None if found is None else str(found.get("display") or found.get("code"))


def components_of(observation: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """Return the components of an Observation by the names of the attributes."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for item in observation.get("component") or ():
        name = code_of(item.get("code"), ATTRIBUTE)
        if name is not None:
            found.setdefault(name, []).append(item)
    return found


def codings_of(concept: object) -> Sequence[Mapping[str, Any]]:
    """Return the codings of a CodeableConcept."""
    return concept.get("coding") or () if isinstance(concept, Mapping) else ()


def _coding_of(concept: object, system: str) -> Mapping[str, Any] | None:
    return next((item for item in codings_of(concept) if item.get("system") == system), None)
