"""What kind of text this is: a chest study's report, another radiology report, or something else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum

from corpora.reports import Report, SectionKind
from models.text.sentence_reader import SentenceReading
from models.text.sentences import SentenceSpan


class TextKind(Enum):
    """A label such as No Finding means something for a chest study only; other texts get no labels at all."""

    CHEST = "chest"
    OTHER_STUDY = "other study"
    OTHER = "no radiology report"


_CHEST_PART = re.compile(r"chest|thora|lung|rib|heart", re.IGNORECASE)
_REPORT_SECTIONS = frozenset(
    {SectionKind.FINDINGS, SectionKind.IMPRESSION, SectionKind.TECHNIQUE, SectionKind.COMPARISON}
)
# Shares of words, set on invented texts: a report of a few words has hardly any word that is not the field's.
_MIN_SIGNAL = 0.04
# English reports: the words known are 0.74 to 1.00 of all (training reports of Open-i); Spanish ones (PadChest): median
# 0.22. A report in a language that is not read must not come out as one without findings.
_MIN_KNOWN = 0.55
_SHORT_TEXT = 20
_LETTER_SHARE = 0.02


def judge_text(report: Report, readings: Sequence[SentenceReading], spans: Sequence[SentenceSpan]) -> TextKind:
    """Return the kind of a text from the words of its sentences, its headings, and what its source says of the
    study.
    """
    signals = sum(r.chest + r.elsewhere + r.report_words for r in readings)
    n_words = max(sum(r.n_words for r in readings), 1)
    other_words = sum(r.other_words for r in readings)
    findings = sum(len(r.findings) for r in readings)
    headings = len({span.section for span in spans} & _REPORT_SECTIONS)
    has_source = bool(report.sections or report.modality or report.body_part)
    if signals == 0 or sum(r.known_words for r in readings) / n_words < _MIN_KNOWN:
        return TextKind.OTHER
    if n_words > _SHORT_TEXT and headings < 2 and signals / n_words < _MIN_SIGNAL:
        return TextKind.OTHER
    if not has_source:
        if findings == 0 and not headings and n_words > _SHORT_TEXT and signals / n_words < _MIN_SIGNAL * 2:
            return TextKind.OTHER
        is_letter = other_words >= 2 and other_words / n_words > _LETTER_SHARE and other_words * 2.5 > signals
        if headings < 2 and is_letter:
            return TextKind.OTHER
    return TextKind.CHEST if _is_chest(report, readings) else TextKind.OTHER_STUDY


def _is_chest(report: Report, readings: Sequence[SentenceReading]) -> bool:
    if report.body_part:
        return bool(_CHEST_PART.search(report.body_part))
    exam_chest = sum(r.exam_chest for r in readings)
    exam_other = sum(r.exam_other for r in readings)
    chest = sum(r.chest for r in readings)
    elsewhere = sum(r.elsewhere for r in readings)
    if exam_chest and not exam_other:
        return True
    if exam_other and not exam_chest:
        return False
    return chest > 0 and 2 * chest >= elsewhere
