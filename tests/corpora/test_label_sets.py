"""The packaged label sets: complete, in the published order, and fed by findings of the vocabulary."""

from collections import Counter
from pathlib import Path

import pytest

from corpora.mesh import parse_code
from corpora.openi_split import openi_test_ids
from corpora.semantics import LABELS
from corpora.sources.openi import iter_openi_codes
from corpora.vocabulary import Vocabulary, load_vocabulary
from corpora.vocabulary.schema import Readout

NIH14 = """Atelectasis Cardiomegaly Effusion Infiltration Mass Nodule Pneumonia Pneumothorax Consolidation Edema
Emphysema Fibrosis Pleural_Thickening Hernia""".split()
NAMES = ("chexpert14", "nih14", "openi")


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return load_vocabulary()


@pytest.mark.parametrize("name", NAMES)
def test_labels_are_fed_by_findings_of_the_vocabulary(vocabulary: Vocabulary, name: str) -> None:
    labels = vocabulary.label_set(name).labels
    assert len({label.name for label in labels}) == len(labels)
    for label in labels:
        assert {*label.concepts, *label.exclude} <= vocabulary.findings.keys(), label.name
        covered = {c for concept in label.concepts for c in vocabulary.descendants(concept)}
        excluded = {c for concept in label.exclude for c in vocabulary.descendants(concept)}
        assert covered - excluded or label.rule is not None, label.name


@pytest.mark.parametrize("name", NAMES)
def test_what_a_label_excludes_it_would_otherwise_cover(vocabulary: Vocabulary, name: str) -> None:
    # An exclusion without effect is a slip of the pen, or a finding that has moved in the hierarchy.
    for label in vocabulary.label_set(name).labels:
        covered = {c for concept in label.concepts for c in vocabulary.descendants(concept)}
        for concept in label.exclude:
            assert covered & vocabulary.descendants(concept), f"{label.name}: {concept}"


def test_order_and_spelling_are_those_of_the_publications(vocabulary: Vocabulary) -> None:
    assert [label.name for label in vocabulary.label_set("nih14").labels] == NIH14
    assert sorted(label.name for label in vocabulary.label_set("chexpert14").labels) == sorted(LABELS)


def test_read_outs(vocabulary: Vocabulary) -> None:
    assert vocabulary.label_set("chexpert14").readout is Readout.LITERAL
    for name in ("nih14", "openi"):
        label_set = vocabulary.label_set(name)
        assert label_set.readout is Readout.CODED
        assert all(label.mesh for label in label_set.labels)


def test_no_heading_stands_under_two_labels(vocabulary: Vocabulary) -> None:
    for name in ("nih14", "openi"):
        headings = Counter(heading for label in vocabulary.label_set(name).labels for heading in label.mesh)
        assert max(headings.values()) == 1


def test_openi_holds_the_headings_of_at_least_fifteen_reports(vocabulary: Vocabulary, openi_corpus: Path) -> None:
    counts: Counter[str] = Counter()
    reports = 0
    for report_id, codes in iter_openi_codes(openi_corpus):
        if report_id not in openi_test_ids():
            reports += 1
            # "Thoracic vertebrae" and "Thoracic Vertebrae" are one heading.
            counts.update({parse_code(code).heading.casefold() for code in codes})
    assert reports == 3_184
    frequent = {heading for heading, count in counts.items() if count >= 15} - {"normal", "no indexing"}
    labels = vocabulary.label_set("openi").labels
    assert {label.name.casefold() for label in labels} == frequent
    assert all(label.name in label.mesh for label in labels)
    assert all({heading.casefold() for heading in label.mesh} == {label.name.casefold()} for label in labels)
    in_order = [counts[label.name.casefold()] for label in labels]
    assert in_order == sorted(in_order, reverse=True)
