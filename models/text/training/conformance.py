"""The invented sentences of the conformance test."""

from __future__ import annotations

from importlib import resources

import yaml

from corpora.reports import SectionKind
from models.text.sentence_reader import Sentence


def load_conformance() -> list[Sentence]:
    """Return the sentences that a model folder records the readings of."""
    text = resources.files(__package__).joinpath("data", "conformance.yaml").read_text("utf-8")
    entries = [{"text": entry} if isinstance(entry, str) else entry for entry in yaml.safe_load(text)]
    return [
        Sentence(
            entry["text"],
            entry.get("heading", ""),
            tuple(entry.get("antecedents", ())),
            entry.get("section", SectionKind.FINDINGS.value),
        )
        for entry in entries
    ]
