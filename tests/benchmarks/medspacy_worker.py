"""medSpaCy as the rival: CSV in, labels out as Parquet, with radlabel's own vocabulary as target rules.

Run by the Python of an environment that has medSpaCy (`make bench-rivals`); nothing of radlabel is imported here.
The set-up is the one its documentation leads to: PyRuSH sentences, target matcher, ConText with its default rules, and
section rules for the headings of these reports, so that an indication is no evidence.

    python medspacy_worker.py RULES.json REPORTS.csv LABELS.parquet PROCESSES
"""

from __future__ import annotations

import csv
import json
import sys
from multiprocessing import get_context
from pathlib import Path

import medspacy
import pyarrow as pa
import pyarrow.parquet as pq
from loguru import logger
from medspacy.section_detection import SectionRule
from medspacy.target_matcher import TargetRule
from spacy.tokens import Span

# PyRuSH logs every token at debug level, text included: switched off, in the rival's favour.
logger.remove()

SILENT = {"indication", "technique", "comparison"}
CHUNK = 64


class Rival:
    """medSpaCy with the given rules; processes fork, as ``nlp.pipe(n_process=...)`` cannot pass its documents on."""

    def __init__(self, rules: Path) -> None:
        vocabulary = json.loads(rules.read_text(encoding="utf-8"))
        self.labels: list[str] = vocabulary["labels"]
        self._labels_of: dict[str, list[str]] = vocabulary["labels_of_concept"]
        self._nlp = medspacy.load(medspacy_enable=["medspacy_pyrush", "medspacy_target_matcher", "medspacy_context"])
        matcher = self._nlp.get_pipe("medspacy_target_matcher")
        matcher.add([TargetRule(phrase, concept) for phrase, concept in vocabulary["phrases"]])
        matcher.add([TargetRule(a, concept, pattern=[{"TEXT": a}]) for a, concept in vocabulary["abbreviations"]])
        sections = self._nlp.add_pipe("medspacy_sectionizer", config={"rules": None})
        # The headings of the input stand on lines of their own: ConText's rule ": no", meant for "effusion: no", would
        # take the "no" of "FINDINGS: No effusion".
        for heading in ("indication", "technique", "comparison", "findings", "impression"):
            sections.add([SectionRule(f"{heading.upper()}:", heading)])

    def read(self, row: dict[str, str]) -> dict[str, object]:
        """Return the output row of one input row."""
        doc = self._nlp(row["text"])
        concepts = {entity.label_ for entity in doc.ents if is_asserted(entity)}
        positive = {name for concept in concepts for name in self._labels_of.get(concept, ())}
        found = {name: name in positive for name in self.labels}
        return {"report_id": row["report_id"], "findings": len(doc.ents), **found}


def is_asserted(entity: Span) -> bool:
    """Tell whether a mention counts: outside of silent sections, neither negated nor hedged nor hypothetical."""
    state = entity._
    withheld = state.is_negated or state.is_uncertain or state.is_hypothetical or state.is_family
    return not withheld and state.section_category not in SILENT


rival: Rival


def read_row(row: dict[str, str]) -> dict[str, object]:
    """Return the output row, in a process that was forked with the rules loaded."""
    return rival.read(row)


def main(rules: Path, reports: Path, labels: Path, processes: int) -> None:
    """Label all reports of a CSV file."""
    global rival
    rival = Rival(rules)
    with reports.open(encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(stream)
        if processes == 1:
            read = [read_row(row) for row in rows]
        else:
            with get_context("fork").Pool(processes) as pool:
                read = list(pool.imap(read_row, rows, chunksize=CHUNK))
    pq.write_table(pa.Table.from_pylist(read), labels)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
