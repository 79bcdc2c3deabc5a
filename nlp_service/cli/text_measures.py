"""What `radlabel text evaluate` measures on: Open-i's codes, the semantics table, the grammar, a user's own labels."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from corpora.errors import RowInvalid
from corpora.fetch import open_corpus
from corpora.findings import LabeledReport
from corpora.grammar import SentenceGrammar
from corpora.labeled import read_labeled
from corpora.mesh import labels_from_codes
from corpora.openi_split import Split, select_split, unseen_reports
from corpora.reports import Report
from corpora.semantics import load_cases
from corpora.sources import read_reports
from corpora.sources.openi import iter_openi_codes
from corpora.vocabulary import load_vocabulary
from models.text.calibration import calibration_of
from models.text.evaluate import UNSCORED, evaluate_attributes, evaluate_codes, positives, score_semantics
from models.text.grammar_scores import score_grammar
from models.text.metrics import compare_micro_f1, score_multilabel
from nlp_service.cli import text_tables as tables
from nlp_service.labeler import Labeler
from nlp_service.readers import DEFAULT_READER, ReaderKind

SEMANTICS_LABEL_SET = "chexpert14"
ATTRIBUTE_LABEL_SET = "openi"
GRAMMAR_SENTENCES = 5000
Show = Callable[[Console], None]
Facts = tuple[dict[str, Any], Show]


@dataclass(frozen=True, slots=True)
class Reader:
    """What is measured: the kind of reader, the folder of its model, and files that add to the vocabulary."""

    kind: ReaderKind = DEFAULT_READER
    model: Path | None = None
    vocabulary: tuple[Path, ...] = ()
    rules_check: bool = True

    @classmethod
    def named(cls, name: str, vocabulary: Sequence[Path]) -> Reader:
        """Return the reader that a name stands for: ``rules``, ``shipped``, or the folder of a model."""
        if name == ReaderKind.RULES.value:
            return cls(ReaderKind.RULES, None, tuple(vocabulary))
        return cls(ReaderKind.ENCODER, None if name == "shipped" else Path(name), tuple(vocabulary))

    def labeler(self, *label_sets: str) -> Labeler:
        """Return a labeler for label sets."""
        return Labeler(
            label_sets=label_sets,
            vocabulary=self.vocabulary,
            reader=self.kind,
            model=self.model,
            rules_check=self.rules_check,
        )


@dataclass(frozen=True, slots=True)
class Resampling:
    """The bootstrap of the intervals."""

    n_bootstrap: int = 1000
    seed: int = 0


def measure_openi(
    reader: Reader, cache_dir: Path, split: Split, label_set: str, resampling: Resampling, *, only_unseen: bool = False
) -> Facts:
    """Return how a reader agrees with Open-i's codes, as values for JSON, and what prints them as tables.

    Gold comes from the codes by the label set's own headings. Sides and places are measured by the MeSH headings of the
    label set ``openi``, whichever labels are. ``only_unseen`` leaves out reports whose text occurs in a training
    report.
    """
    labeler = reader.labeler(label_set, ATTRIBUTE_LABEL_SET)
    sets = {entry.id: entry for entry in labeler.label_sets}
    reports, codes = _openi(cache_dir, split, only_unseen)
    labeled = list(labeler.label_many(reports))
    options = {"n_bootstrap": resampling.n_bootstrap, "seed": resampling.seed}
    labels = evaluate_codes(codes, labeled, sets[label_set], **options)
    attributes = evaluate_attributes(codes, labeled, sets[ATTRIBUTE_LABEL_SET], **options)
    gold = {i: labels_from_codes(c, sets[label_set]) for i, c in codes.items()}
    unscored = UNSCORED.get(label_set, frozenset())
    names = [entry.name for entry in sets[label_set].labels if entry.mesh and entry.name not in unscored]
    calibration = [score.as_dict() for score in calibration_of(labeled, gold, label_set, names)]
    facts = {
        "corpus": "openi",
        "split": split.value,
        "only_unseen": only_unseen,
        "label_set": label_set,
        "model": asdict(labeler.model),
        "statuses": _statuses(labeled),
        "labels": labels.as_dict(),
        "attributes": attributes.as_dict(),
        "calibration": calibration,
    }
    what = f"split {split.value}" + (", text unseen" if only_unseen else "")

    def show(console: Console) -> None:
        console.print(tables.label_table(f"{label_set} on Open-i, {what}: {len(codes):,} reports", labels))
        console.print(tables.attribute_table(attributes))
        if calibration:
            console.print(tables.calibration_table(calibration))

    return facts, show


def compare_on_openi(
    first: tuple[str, Reader],
    second: tuple[str, Reader],
    cache_dir: Path,
    split: Split,
    label_set: str,
    resampling: Resampling,
    *,
    only_unseen: bool = False,
) -> Facts:
    """Return how much better the second of two named readers agrees with Open-i's codes than the first."""
    reports, codes = _openi(cache_dir, split, only_unseen)
    entry = first[1].labeler(label_set).label_sets[0]
    unscored = UNSCORED.get(label_set, frozenset())
    names = [label.name for label in entry.labels if label.mesh and label.name not in unscored]
    gold = {i: labels_from_codes(c, entry) for i, c in codes.items()}
    return _compare(first, second, reports, gold, label_set, names, resampling)


def measure_own(
    reader: Reader,
    path: Path,
    labels: Mapping[str, str],
    label_set: str,
    columns: Mapping[str, str],
    resampling: Resampling,
) -> Facts:
    """Return how a reader agrees with the labels in a CSV; blank and uncertain cells count as absent."""
    reports, gold, rejected = _own(path, labels, columns)
    labeler = reader.labeler(label_set)
    labeled = list(labeler.label_many(reports))
    scores = score_multilabel(
        gold, positives(labeled, label_set), list(labels), n_bootstrap=resampling.n_bootstrap, seed=resampling.seed
    )
    calibration = [score.as_dict() for score in calibration_of(labeled, gold, label_set, list(labels))]
    facts = {
        "corpus": path.name,
        "label_set": label_set,
        "model": asdict(labeler.model),
        "statuses": _statuses(labeled),
        "left_out": [str(row) for row in rejected],
        "labels": scores.as_dict(),
        "calibration": calibration,
    }

    def show(console: Console) -> None:
        console.print(tables.label_table(f"{label_set} on {path.name}: {len(reports):,} reports", scores))
        if calibration:
            console.print(tables.calibration_table(calibration))
        for row in rejected:
            console.print(f"left out: {row}")

    return facts, show


def compare_on_own(
    first: tuple[str, Reader],
    second: tuple[str, Reader],
    path: Path,
    labels: Mapping[str, str],
    label_set: str,
    columns: Mapping[str, str],
    resampling: Resampling,
) -> Facts:
    """Return how much better the second of two named readers agrees with the labels in a CSV than the first."""
    reports, gold, _ = _own(path, labels, columns)
    return _compare(first, second, reports, gold, label_set, list(labels), resampling)


def measure_semantics(reader: Reader) -> Facts:
    """Return how a reader does on the semantics table, as values for JSON, and what prints them as a table."""
    labeler = reader.labeler(SEMANTICS_LABEL_SET)
    scores = score_semantics(load_cases(), labeler.label, load_vocabulary(reader.vocabulary))
    facts = {
        "corpus": "semantics",
        "label_set": SEMANTICS_LABEL_SET,
        "model": asdict(labeler.model),
        "semantics": scores.as_dict(),
    }

    def show(console: Console) -> None:
        console.print(tables.semantics_table(scores))
        console.print(f"not right: {', '.join(scores.wrong) or 'none'}", soft_wrap=True)

    return facts, show


def measure_grammar(reader: Reader, seed: int) -> Facts:
    """Return how a reader does on sentences of the grammar's held-out families and synonyms."""
    labeler = reader.labeler(SEMANTICS_LABEL_SET)
    rng = random.Random(seed)
    grammar = SentenceGrammar(load_vocabulary(reader.vocabulary), held_out=True)
    sentences = [grammar.generate(rng) for _ in range(GRAMMAR_SENTENCES)]
    scores = score_grammar(sentences, labeler.read_sentences)
    facts = {"corpus": "grammar", "model": asdict(labeler.model), **scores.as_dict()}

    def show(console: Console) -> None:
        console.print(tables.grammar_table(facts))

    return facts, show


def _compare(
    first: tuple[str, Reader],
    second: tuple[str, Reader],
    reports: Sequence[Report],
    gold: Mapping[str, Collection[str]],
    label_set: str,
    names: Sequence[str],
    resampling: Resampling,
) -> Facts:
    said = [positives(reader.labeler(label_set).label_many(reports), label_set) for _, reader in (first, second)]
    compared = compare_micro_f1(gold, said[0], said[1], names, n_bootstrap=resampling.n_bootstrap, seed=resampling.seed)
    scores = [
        score_multilabel(gold, guess, names, n_bootstrap=resampling.n_bootstrap, seed=resampling.seed) for guess in said
    ]
    facts = {
        "label_set": label_set,
        "reports": len(gold),
        "compared": [first[0], second[0]],
        "micro_f1": [score.micro.f1 for score in scores],
        **asdict(compared),
    }

    def show(console: Console) -> None:
        for (name, _), score in zip((first, second), scores, strict=True):
            console.print(tables.label_table(f"{name}: {label_set}, {len(gold):,} reports", score))
        console.print(tables.comparison_line(first[0], second[0], compared), highlight=False)

    return facts, show


def _openi(cache_dir: Path, split: Split, only_unseen: bool) -> tuple[list[Report], dict[str, Sequence[str]]]:
    path = open_corpus("openi", cache_dir)
    everything = list(read_reports(path))
    reports = select_split(everything, split)
    if only_unseen:
        reports = unseen_reports(reports, everything)
    wanted = {report.report_id for report in reports}
    return reports, {i: codes for i, codes in iter_openi_codes(path) if i in wanted}


def _own(
    path: Path, labels: Mapping[str, str], columns: Mapping[str, str]
) -> tuple[list[Report], dict[str, frozenset[str]], list[RowInvalid]]:
    reports: list[Report] = []
    gold: dict[str, frozenset[str]] = {}
    rejected: list[RowInvalid] = []
    for row in read_labeled(path, labels, columns=columns):
        if isinstance(row, RowInvalid):
            rejected.append(row)
            continue
        reports.append(row.report)
        gold[row.report.report_id] = frozenset(name for name, value in row.labels.items() if value)
    return reports, gold, rejected


def _statuses(labeled: Sequence[LabeledReport]) -> dict[str, int]:
    statuses: dict[str, int] = {}
    for report in labeled:
        statuses[report.status.value] = statuses.get(report.status.value, 0) + 1
    return statuses
