"""What a site's own labelled reports are worth: the shipped model against one trained on from it, on that site.

The site is made up, so that its habits are known. They differ from those of Open-i's coders, from whom the shipped
model has its labels (`SHIFT`): what may be there is coded as if it were there, where Open-i's coders mostly left it
out; what is stable, persistent, chronic or old is not coded; every airspace opacity is coded Infiltration, and a
consolidation, too; three of ten mentions are in words that no vocabulary has (CMG, PEff, wet lungs, air leak).

A report is put together from the templates below and sentences of the grammar, so what it says is known exactly, and
with it the labels; then 2 % of the cells that a report speaks of are turned, as coders slip. The templates are the
same in training and test reports, as the radiologists are; of the grammar the test reports have held-out sentences.

    make bench-retrain
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from corpora import Report
from corpora.findings import Assertion
from corpora.grammar import GrammarFinding, SentenceGrammar
from corpora.vocabulary import Vocabulary, load_vocabulary
from models.text.evaluate import positives
from nlp_service.cli.text_measures import Reader, Resampling, compare_on_own
from tests.benchmarks.measure import machine, run_measured

LABEL_SET = "nih14"
SHIFT = {
    "hedged": "coded as present",
    "old": "stable, persistent, chronic and old disease is not coded",
    "infiltration": "every airspace opacity is coded Infiltration, a consolidation too",
    "words": "30 % of the mentions in words that the vocabulary does not have",
    "noise": "2 % of the cells that a report speaks of are turned",
}
HOUSE_SHARE, NOISE = 0.3, 0.02
CODED = ("present", "hedged")  # of the kinds in `FRAMES`
_OLD = frozenset({"stable", "persistent", "chronic", "old"})
_AIRSPACE = ("infiltrate", "airspace_disease", "lung_opacity", "ground_glass_opacity", "consolidation")
# For each label the field's words, and the house's own.
WORDS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "Atelectasis": (("atelectasis", "volume loss with atelectasis"), ("plate lung", "BB plates")),
    "Cardiomegaly": (("cardiomegaly", "enlarged heart"), ("CMG", "cor bovinum")),
    "Effusion": (("pleural effusion", "pleural fluid"), ("PEff", "basal water line")),
    "Infiltration": (("infiltrate", "airspace opacity", "airspace disease"), ("AS shadowing", "patchy shadowing")),
    "Mass": (("lung mass", "pulmonary mass"), ("TU shadow", "TU")),
    "Nodule": (("lung nodule", "pulmonary nodule"), ("coin shadow", "SPN")),
    "Pneumonia": (("pneumonia", "bronchopneumonia"), ("BPN", "chest cold")),
    "Pneumothorax": (("pneumothorax", "apical pneumothorax"), ("air leak", "lung off the wall")),
    "Consolidation": (("consolidation", "lobar consolidation"), ("dense lobe", "lobar filling")),
    "Edema": (("pulmonary edema", "interstitial edema"), ("wet lungs", "fluid lungs")),
    "Emphysema": (("emphysema", "emphysematous change"), ("blown lungs", "barrel lungs")),
    "Fibrosis": (("pulmonary fibrosis", "fibrotic change"), ("BB scarring", "shrunken lungs")),
    "Pleural_Thickening": (("pleural thickening", "thickened pleura"), ("PTHK", "pleural coat")),
    "Hernia": (("hiatal hernia", "hiatus hernia"), ("HH", "stomach in the chest")),
}
_SIDED = frozenset(WORDS) - {"Cardiomegaly", "Edema", "Emphysema", "Fibrosis", "Hernia"}
FRAMES: Mapping[str, tuple[str, ...]] = {
    "present": ("There is evidence of {}.", "{}.", "{} is seen.", "Findings in keeping with {}.", "New {}.",
                "{}, new since the prior examination.", "Interval development of {}."),
    "hedged": ("Possible {}.", "Findings may represent {}.", "{} cannot be excluded.", "Questionable {}.",
               "Appearance suspicious for {}.", "Consider {}."),
    "old": ("Stable {}.", "{} is unchanged from the prior examination.", "Chronic {}.", "{} again, as before.",
            "Known {}, unchanged.", "Persistent {}."),
    "denied": ("No {}.", "There is no evidence of {}.", "Negative for {}.", "{} is not seen."),
}  # fmt: skip
_KINDS = ("present", "present", "present", "hedged", "hedged", "old", "old")
_NEUTRAL = ("The bony thorax is intact.", "The trachea is midline.", "The mediastinal contours are normal.",
            "The upper abdomen is unremarkable.", "No acute bony abnormality.")  # fmt: skip
_INDICATIONS = ("Cough.", "Shortness of breath.", "Chest pain.", "Preoperative.", "Evaluate for pneumonia.", "Fever.")
_FROM_GRAMMAR = ("presence", "attributes", "temporality", "hedge_modal", "hedge_probable", "negation_lists")


class Said(NamedTuple):
    """How a report speaks of a label: a kind of `FRAMES`, and whether in the house's own words."""

    kind: str
    is_house: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class SiteReport:
    """A report of the site: what it says of each label that it speaks of, and the labels that its coder gave."""

    report_id: str
    text: str
    said: Mapping[str, Said]
    labels: frozenset[str]


class Site:
    """Makes reports with their labels; a new site makes the same ones for the same arguments."""

    def __init__(self, vocabulary: Vocabulary, *, held_out: bool) -> None:
        self.grammar = SentenceGrammar(vocabulary, held_out=held_out)
        self._labels_of: dict[str, set[str]] = {}
        for label in vocabulary.label_set(LABEL_SET).labels:
            covered = {d for concept in label.concepts for d in vocabulary.descendants(concept)}
            covered -= {d for concept in label.exclude for d in vocabulary.descendants(concept)}
            for concept in covered | (set(_AIRSPACE) if label.name == "Infiltration" else set()):
                self._labels_of.setdefault(concept, set()).add(label.name)

    def reports(self, count: int, seed: int, *, noise: float = NOISE, taken: Iterable[str] = ()) -> list[SiteReport]:
        """Return reports of which none has the text of another, or one that is ``taken``."""
        rng, texts = random.Random(seed), set(taken)
        made: list[SiteReport] = []
        while len(made) < count:
            text, said = self._report(rng)
            turned = {label for label in WORDS if label in said and rng.random() < noise}
            if text not in texts:
                texts.add(text)
                coded = {label for label, what in said.items() if what.kind in CODED}
                made.append(SiteReport(f"site{seed}-{len(made) + 1:04d}", text, said, frozenset(coded ^ turned)))
        return made

    def _report(self, rng: random.Random) -> tuple[str, dict[str, Said]]:
        said: dict[str, Said] = {}
        findings, impression = rng.sample(_NEUTRAL, rng.randint(1, 3)), []
        for label in rng.sample(list(WORDS), rng.choice((0, 0, 1, 2, 2, 3, 4))):
            told = Said(rng.choice(_KINDS), rng.random() < HOUSE_SHARE)
            also = ("Infiltration",) if label == "Consolidation" else ()
            if _note(said, dict.fromkeys((label, *also), told)):
                findings.append(_sentence(label, told, rng))
                if rng.random() < 0.5:
                    impression.append(_sentence(label, told, rng))
        for label in rng.sample(list(WORDS), rng.randint(1, 3)):
            told = Said("denied", rng.random() < HOUSE_SHARE)
            if _note(said, {label: told}):
                findings.append(_sentence(label, told, rng))
        for _ in range(rng.randint(0, 3)):
            sentence = self.grammar.generate_about(rng.choice(_FROM_GRAMMAR), "chest", rng)
            if sentence is not None and _note(said, self._said(sentence.findings)):
                findings.append(f"{sentence.heading}: {sentence.text}" if sentence.heading else sentence.text)
        rng.shuffle(findings)
        head = f"EXAM: Chest radiograph.\nINDICATION: {rng.choice(_INDICATIONS)}"
        return f"{head}\nFINDINGS: {' '.join(findings)}\nIMPRESSION: {' '.join(impression) or 'See above.'}", said

    def _said(self, findings: Sequence[GrammarFinding]) -> dict[str, Said]:
        """Return what a sentence of the grammar says of the labels."""
        kinds: dict[str, list[str]] = {}
        for finding in findings:
            for label in self._labels_of.get(finding.concept_id, ()):
                kinds.setdefault(label, []).append(_kind(finding))
        return {label: Said(min(found, key=list(FRAMES).index)) for label, found in sorted(kinds.items())}


def _kind(finding: GrammarFinding) -> str:
    if finding.assertion is Assertion.NEGATIVE:
        return "denied"
    if finding.temporality in _OLD:
        return "old"
    return "hedged" if finding.assertion is Assertion.UNCERTAIN else "present"


def _note(said: dict[str, Said], told: Mapping[str, Said]) -> bool:
    """Take over what a sentence says, or return ``False`` where the report has spoken of one of its labels."""
    if said.keys() & told.keys():
        return False
    said.update(told)
    return True


def _sentence(label: str, told: Said, rng: random.Random) -> str:
    words = rng.choice(WORDS[label][told.is_house])
    if label in _SIDED and rng.random() < 0.4:
        words = f"{rng.choice(('left', 'right'))} {words}"
    text = rng.choice(FRAMES[told.kind]).format(words)
    return text[0].upper() + text[1:]


def write_site(reports: Sequence[SiteReport], path: Path) -> None:
    """Write reports as a CSV with a column for each label, as `radlabel text train` takes it."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("report_id", "text", *WORDS))
        for report in reports:
            writer.writerow((report.report_id, report.text, *(int(label in report.labels) for label in WORDS)))


def share_right(reader: Reader, reports: Sequence[SiteReport]) -> dict[str, float]:
    """Return the share of labels that a reader has as the site's habits ask, by how the report speaks of them."""
    read = reader.labeler(LABEL_SET).label_many(Report(report.report_id, report.text) for report in reports)
    guessed = positives(read, LABEL_SET)
    right, cells = Counter[str](), Counter[str]()
    for report in reports:
        for label, told in report.said.items():
            group = f"{told.kind}, house words" if told.is_house else told.kind
            cells[group] += 1
            right[group] += (label in guessed[report.report_id]) == (told.kind in CODED)
    return {group: round(right[group] / cells[group], 3) for group in sorted(cells)}


def measure(folder: Path, n_train: int, n_test: int, seed: int) -> dict[str, object]:
    """Make the site's files in a folder, train there as a user would, and compare on the site's test reports."""
    vocabulary = load_vocabulary()
    train = Site(vocabulary, held_out=False).reports(n_train, seed)
    test = Site(vocabulary, held_out=True).reports(n_test, seed + 1000, taken=(report.text for report in train))
    train_csv, test_csv, model = folder / "site-train.csv", folder / "site-test.csv", folder / "model"
    write_site(train, train_csv)
    write_site(test, test_csv)
    for left in (model, model.with_name("model.run")):  # of an earlier run: it would go on, or be done already
        shutil.rmtree(left, ignore_errors=True)
    radlabel = Path(sys.executable).with_name("radlabel")
    labels = [word for label in WORDS for word in ("--labels", label)]
    command = [radlabel, "text", "train", "--base", "shipped", "--reports", train_csv, *labels, "-o", model, "--json"]
    run = run_measured([str(word) for word in command])
    shipped, own = ("shipped", Reader.named("shipped", ())), ("retrained", Reader.named(str(model), ()))
    compared, _ = compare_on_own(shipped, own, test_csv, {w: w for w in WORDS}, LABEL_SET, {}, Resampling())
    return {
        "reports": {"train": len(train), "test": len(test)},
        "training": run.as_json(),
        "compared": compared,
        "cells_right": {name: share_right(reader, test) for name, reader in (shipped, own)},
    }


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description="retraining on a site with habits of its own", allow_abbrev=False)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--work", type=Path, help="keep the site's files and the model in this folder")
    parser.add_argument("--reports", type=int, default=500, help="labelled reports to train on (default 500)")
    parser.add_argument("--tests", type=int, default=400, help="labelled reports to compare on (default 400)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the site (default 1)")
    options = parser.parse_args()
    with TemporaryDirectory(prefix="radlabel-bench-") as temporary:
        folder = options.work or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        measured = measure(folder, options.reports, options.tests, options.seed)
    results = {"benchmark": "retrain", "machine": machine(), "seed": options.seed, "shift": SHIFT, **measured}
    print(json.dumps(results, indent=2))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
