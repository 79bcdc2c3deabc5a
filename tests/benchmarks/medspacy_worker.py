"""medSpaCy as the rival: CSV in, labels out as Parquet, with radlabel's own vocabulary as target rules.

Run by the Python of an environment that has medSpaCy (`make bench-rivals`); nothing of radlabel is imported here.
The set-up is the one its documentation leads to: PyRuSH sentences, target matcher, ConText with its default rules, and
section rules for the headings of these reports, so that an indication is no evidence.

    python medspacy_worker.py RULES.json REPORTS.csv LABELS.parquet [PROCESSES]
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import medspacy
import pyarrow as pa
import pyarrow.parquet as pq
from loguru import logger
from medspacy.section_detection import SectionRule
from medspacy.target_matcher import TargetRule

# PyRuSH logs every token at debug level, text included: switched off, in the rival's favour.
logger.remove()

SILENT = {"indication", "technique", "comparison"}
BATCH_SIZE = 64
# ConText's default rules hold an entry ": no", meant for "effusion: no", that takes the "no" of "FINDINGS: No effusion":
# the headings of the input stand on lines of their own, which it reads as one would wish.


def main(rules: Path, reports: Path, labels: Path, processes: int) -> None:
    """Label all reports of a CSV file."""
    vocabulary = json.loads(rules.read_text(encoding="utf-8"))
    pipes = ["medspacy_pyrush", "medspacy_target_matcher", "medspacy_context"]
    nlp = medspacy.load(medspacy_enable=pipes)
    matcher = nlp.get_pipe("medspacy_target_matcher")
    matcher.add([TargetRule(phrase, concept) for phrase, concept in vocabulary["phrases"]])
    matcher.add([TargetRule(a, concept, pattern=[{"TEXT": a}]) for a, concept in vocabulary["abbreviations"]])
    sections = nlp.add_pipe("medspacy_sectionizer", config={"rules": None})
    for heading in ("indication", "technique", "comparison", "findings", "impression"):
        sections.add([SectionRule(f"{heading.upper()}:", heading)])
    covers = {concept: names for concept, names in vocabulary["labels_of_concept"].items()}
    columns: dict[str, list[object]] = {name: [] for name in ("report_id", "findings", *vocabulary["labels"])}
    with reports.open(encoding="utf-8", newline="") as stream:
        rows = ((row["text"], row["report_id"]) for row in csv.DictReader(stream))
        for doc, report_id in nlp.pipe(rows, as_tuples=True, batch_size=BATCH_SIZE, n_process=processes):
            positive = {name for concept in iter_positive(doc) for name in covers.get(concept, ())}
            columns["report_id"].append(report_id)
            columns["findings"].append(len(doc.ents))
            for name in vocabulary["labels"]:
                columns[name].append(name in positive)
    pq.write_table(pa.table(columns), labels)


def iter_positive(doc: medspacy.Doc) -> Iterator[str]:
    """Yield the concepts that are asserted: outside of silent sections, neither negated nor hedged nor hypothetical."""
    for entity in doc.ents:
        state = entity._
        if not (state.is_negated or state.is_uncertain or state.is_hypothetical or state.is_family):
            if state.section_category not in SILENT:
                yield entity.label_


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]) if len(sys.argv) > 4 else 1)
