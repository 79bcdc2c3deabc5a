"""The made-up site of the retraining benchmark has the habits that it claims."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpora import Report
from corpora.labeled import PersonLabeled, read_labeled
from corpora.vocabulary import load_vocabulary
from models.text.teacher import RuleTeacher
from tests.benchmarks.bench_retrain import CODED, FRAMES, LABEL_SET, WORDS, Site, SiteReport, write_site

N_REPORTS = 200


def make_reports(*, held_out: bool = False, noise: float = 0.0) -> list[SiteReport]:
    return Site(load_vocabulary(), held_out=held_out).reports(N_REPORTS, 1, noise=noise)


@pytest.fixture(scope="module")
def exact() -> list[SiteReport]:
    """Return reports whose coder never slipped."""
    return make_reports()


def test_a_seed_makes_the_same_site_again(tmp_path: Path) -> None:
    files = []
    for name, seed in (("a.csv", 1), ("b.csv", 1), ("c.csv", 2)):
        write_site(Site(load_vocabulary(), held_out=False).reports(20, seed), tmp_path / name)
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1] != files[2]


def test_no_text_occurs_twice_nor_among_those_taken(exact: list[SiteReport]) -> None:
    texts = {report.text for report in exact}
    assert len(texts) == len(exact)
    others = Site(load_vocabulary(), held_out=False).reports(20, 1, taken=texts)
    assert not texts & {report.text for report in others}


@pytest.mark.parametrize("held_out", [False, True])
def test_every_label_is_given_to_some_reports_and_not_to_others(held_out: bool) -> None:
    reports = make_reports(held_out=held_out, noise=0.02)
    for label in WORDS:
        assert 5 <= sum(label in report.labels for report in reports) <= N_REPORTS - 5, label


def test_labels_are_those_of_the_label_set() -> None:
    assert list(WORDS) == [label.name for label in load_vocabulary().label_set(LABEL_SET).labels]


@pytest.mark.parametrize(("kind", "is_coded"), [("present", True), ("hedged", True), ("old", False), ("denied", False)])
def test_sentence_of_a_kind_is_coded_as_the_site_does(exact: list[SiteReport], kind: str, is_coded: bool) -> None:
    """The texts are searched for the sentences, whatever the reports say of themselves."""
    # The bare "{}." is part of other sentences ("Possible {}.").
    found = {frame for frame in FRAMES[kind] if frame != "{}."}
    seen = 0
    for report in exact:
        findings = report.text.partition("\nFINDINGS: ")[2].replace("\nIMPRESSION:", "")
        for label, words in WORDS.items():
            sentences = {frame.format(word) for frame in found for word in (*words[0], *words[1])}
            capital = {sentence[0].upper() + sentence[1:] for sentence in sentences}
            if any(f" {sentence} " in f" {findings} " for sentence in capital):
                seen += 1
                assert (label in report.labels) is is_coded
    assert seen > 10


def test_consolidation_is_coded_infiltration_as_well(exact: list[SiteReport]) -> None:
    coded = [report for report in exact if "Consolidation" in report.labels]
    assert coded
    assert all("Infiltration" in report.labels for report in coded)


def test_coders_slip_in_few_cells(exact: list[SiteReport]) -> None:
    noisy = make_reports(noise=0.02)
    assert sum(slips(report) for report in exact) == 0
    assert 0.005 < sum(slips(report) for report in noisy) / sum(len(report.said) for report in noisy) < 0.04


def slips(report: SiteReport) -> int:
    return sum((label in report.labels) != (said.kind in CODED) for label, said in report.said.items())


def test_no_vocabulary_knows_the_words_of_the_house() -> None:
    vocabulary = load_vocabulary()
    teacher, label_set = RuleTeacher(vocabulary), vocabulary.label_set(LABEL_SET)
    for label in label_set.labels:
        covered = {below for concept in label.concepts for below in vocabulary.descendants(concept)}
        for word in WORDS[label.name][1]:
            reading = teacher.read(Report("r1", f"EXAM: Chest radiograph.\nFINDINGS: There is evidence of {word}."))
            assert not {item.finding.concept_id for item in reading.findings} & covered, word


def test_csv_is_read_without_a_reject(exact: list[SiteReport], tmp_path: Path) -> None:
    write_site(exact, tmp_path / "site.csv")
    rows = list(read_labeled(tmp_path / "site.csv", {label: label for label in WORDS}))
    assert [row.report.text for row in rows if isinstance(row, PersonLabeled)] == [report.text for report in exact]
    for row, report in zip(rows, exact, strict=True):
        assert isinstance(row, PersonLabeled)
        assert row.labels == {label: label in report.labels for label in WORDS}
