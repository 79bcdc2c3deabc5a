"""The labels of an image's study, from the label rows of the one or several reports that are about it.

Of several reports (`corpora.linking` hands over the latest final one, or all where nothing tells which is the latest,
and every addendum) the values are combined as one report's would be: positive over uncertain over negative, and what an
addendum says overrides what came before (docs/label-semantics.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from corpora.findings import Assertion, Finding, Status
from corpora.weak_labels.values import CODE_OF, NEGATIVE, NOT_MENTIONED, POSITIVE, UNCERTAIN, UNREAD, expected_value

_RANK = {POSITIVE: 4, UNCERTAIN: 3, NEGATIVE: 2, UNREAD: 1, NOT_MENTIONED: 0}


@dataclass(frozen=True, slots=True, repr=False)
class Evidence:
    """Where a report says what a label's value comes from; ``report_id`` is the original."""

    label: str
    start: int
    end: int
    report_id: str


@dataclass(frozen=True, slots=True, repr=False)
class ReportLabels:
    """Labels in the order of the label set: codes of `corpora.weak_labels.values`, the probability of positive and the
    expected value (NaN where there is none), where they are said, and the findings with the original ids of their
    reports. ``is_addendum`` tells whether the report adds to another.
    """

    report_ids: tuple[str, ...]
    codes: tuple[int, ...]
    positive: tuple[float, ...]
    expected: tuple[float, ...]
    evidence: tuple[Evidence, ...]
    findings: tuple[tuple[str, Finding], ...] = ()
    is_addendum: bool = False


def report_labels(
    row: Mapping[str, Any], label_set: str, labels: Sequence[str], abstain: tuple[float, float] | None
) -> ReportLabels | None:
    """Return what a row of `radlabel label`'s Parquet says, ``None`` where the report was not read.

    ``abstain`` is the band within which a blank means too close to call.
    """
    if row["status"] != Status.OK.value:
        return None
    details = {entry["label"]: entry for entry in row.get("labels") or () if entry["label_set"] == label_set}
    findings = [finding_of(raw) for raw in row.get("findings") or ()]
    report_id = row["report_id"]
    codes, positive, expected, evidence = [], [], [], []
    for label in labels:
        value = row[f"{label_set}:{label}"]
        entry = details.get(label) or {}
        probability = dict(entry.get("probability") or {})
        code = CODE_OF[Assertion(value) if value else None]
        expects = expected_value(probability)
        if code == NOT_MENTIONED and abstain is not None and abstain[0] <= expects <= abstain[1]:
            code = UNREAD
        codes.append(code)
        positive.append(probability.get("positive", math.nan if not probability else 0.0))
        expected.append(expects)
        for index in entry.get("evidence") or ():
            if index < len(findings):
                evidence.append(Evidence(label, findings[index].start, findings[index].end, report_id))
    return ReportLabels(
        (report_id,),
        tuple(codes),
        tuple(positive),
        tuple(expected),
        tuple(evidence),
        tuple((report_id, finding) for finding in findings),
        row["report_status"] == "addendum",
    )


def combine(parts: Sequence[ReportLabels], labels: Sequence[str]) -> ReportLabels:
    """Return the labels of one study from those of its reports, addenda last and in the order of time.

    The evidence of a label is that of the report which gave its value.
    """
    if len(parts) == 1:
        return parts[0]
    chosen = {label: _deciding(parts, place) for place, label in enumerate(labels)}
    by_place = list(chosen.values())
    return ReportLabels(
        tuple(dict.fromkeys(part.report_ids[0] for part in parts)),
        tuple(part.codes[place] for place, part in enumerate(by_place)),
        tuple(part.positive[place] for place, part in enumerate(by_place)),
        tuple(part.expected[place] for place, part in enumerate(by_place)),
        tuple(item for part in parts for item in part.evidence if chosen[item.label] is part),
        tuple(item for part in parts for item in part.findings),
    )


def _deciding(parts: Sequence[ReportLabels], label: int) -> ReportLabels:
    best = parts[0]
    for part in parts[1:]:
        code = part.codes[label]
        if part.is_addendum:
            best = part if code not in (NOT_MENTIONED, UNREAD) else best
        elif _RANK[code] > _RANK[best.codes[label]]:
            best = part
    return best


def finding_of(raw: Mapping[str, Any]) -> Finding:
    """Return a finding of a label row, without its text: offsets say where it stands."""
    concept = raw["concept"]
    return Finding(
        text="",
        start=raw["start"],
        end=raw["end"],
        section=raw["section"],
        sentence=raw["sentence"],
        concept_id=concept["id"],
        concept_name=concept["name"],
        cui=concept["cui"],
        assertion=Assertion(raw["assertion"]),
        probability=raw["probability"],
        anatomy=raw["anatomy"],
        laterality=raw["laterality"],
        location=tuple(raw["location"] or ()),
        severity=raw["severity"],
        temporality=raw["temporality"],
    )
