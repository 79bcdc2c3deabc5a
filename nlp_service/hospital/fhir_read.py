"""The labels and findings of a Bundle that radlabel made, for whoever stored it or was sent it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from corpora.findings import Assertion, Finding, Hedge, Measurement, StudyLabel
from nlp_service.hospital.fhir_codes import (
    ANATOMY,
    ASSERTION,
    BASIS,
    CONCEPT,
    LABEL_SET,
    UMLS,
    code_of,
    codings_of,
    components_of,
    display_of,
)


def labels_of_bundle(bundle: Mapping[str, Any]) -> dict[str, dict[str, StudyLabel]]:
    """Return the labels of a Bundle that `bundle_of` made, by label set and label.

    They are those that had a value: a label that a set has and the Bundle does not was not mentioned.
    """
    observations = dict(_observations(bundle))
    findings = [name for name, item in observations.items() if code_of(item.get("code"), CONCEPT)]
    index = {name: place for place, name in enumerate(findings)}
    labels: dict[str, dict[str, StudyLabel]] = {}
    for item in observations.values():
        systems = (str(coding.get("system")) for coding in codings_of(item.get("code")))
        system = next((system for system in systems if system.startswith(LABEL_SET)), None)
        if system is None:
            continue
        evidence = (index.get(str(source.get("reference"))) for source in item.get("derivedFrom") or ())
        probability = {
            name.removeprefix("probability-"): float(found[0]["valueQuantity"]["value"])
            for name, found in components_of(item).items()
            if name.startswith("probability-")
        }
        labels.setdefault(system.removeprefix(LABEL_SET), {})[display_of(item["code"], system) or ""] = StudyLabel(
            value=_assertion(item),
            basis=code_of(item.get("method"), BASIS) or "span",
            evidence=tuple(place for place in evidence if place is not None),
            probability=probability or None,
        )
    return labels


def findings_of_bundle(bundle: Mapping[str, Any]) -> tuple[Finding, ...]:
    """Return the findings of a Bundle that `bundle_of` made, in their order."""
    return tuple(_read_finding(item) for _, item in _observations(bundle) if code_of(item.get("code"), CONCEPT))


def _read_finding(item: Mapping[str, Any]) -> Finding:
    found = components_of(item)

    def first(name: str, kind: str) -> Any:
        return found[name][0].get(kind) if name in found else None

    def numbers(name: str) -> tuple[float, ...]:
        return tuple(float(part["valueQuantity"]["value"]) for part in found.get(name, ()))

    def coded(name: str) -> str | None:
        return code_of(first(name, "valueCodeableConcept"), f"urn:radlabel:{name}")

    probability = numbers("probability")
    sizes = numbers("size-as-given")
    hedge = coded("hedge")
    return Finding(
        text=str(first("text", "valueString") or ""),
        start=int(first("start", "valueInteger") or 0),
        end=int(first("end", "valueInteger") or 0),
        section=coded("section") or "",
        sentence=int(first("sentence", "valueInteger") or 0),
        concept_id=code_of(item["code"], CONCEPT) or "",
        concept_name=display_of(item["code"], CONCEPT) or "",
        cui=code_of(item["code"], UMLS),
        assertion=_assertion(item),
        probability=probability[0] if probability else None,
        anatomy=code_of(first("anatomy", "valueCodeableConcept"), ANATOMY),
        laterality=coded("laterality"),
        location=tuple(code_of(part["valueCodeableConcept"], ANATOMY) or "" for part in found.get("location", ())),
        severity=coded("severity"),
        temporality=coded("temporality"),
        measurement=Measurement(sizes, str(found["size-as-given"][0]["valueQuantity"].get("unit")), numbers("size"))
        if sizes
        else None,
        hedge=Hedge(hedge) if hedge else None,
    )


def _observations(bundle: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for entry in bundle.get("entry") or ():
        resource = entry.get("resource") or {}
        if resource.get("resourceType") == "Observation":
            yield str(entry.get("fullUrl")), resource


def _assertion(observation: Mapping[str, Any]) -> Assertion:
    return Assertion(code_of(observation.get("valueCodeableConcept"), ASSERTION) or "")
