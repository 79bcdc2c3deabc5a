"""radlabel and medSpaCy side by side: the same reports, the same vocabulary, the same machine, one run.

Both read Open-i's 3,955 reports from one CSV file and write labels as Parquet, each as a process of its own from start
to end: interpreter, imports, rules, reading, writing. Runs alternate, so that a busy minute hits both; medians are
compared. medSpaCy gets the phrases of radlabel's vocabulary as target rules, written out with plurals and both orders
of two-part names, and as many processes as radlabel.

    make bench-rivals
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import pyarrow.parquet as pq

from corpora.fetch import default_cache_dir, open_corpus
from corpora.mesh import labels_from_codes
from corpora.openi_split import Split, select_split
from corpora.sources.openi import iter_openi_codes
from corpora.vocabulary import Vocabulary, load_vocabulary
from models.text.evaluate import UNSCORED
from models.text.metrics import score_multilabel
from models.text.patterns import expand
from tests.benchmarks.load import corpus_reports, write_csv
from tests.benchmarks.measure import Run, machine, run_measured

WORKER = Path(__file__).with_name("medspacy_worker.py")
LABEL_SET = "nih14"


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description="radlabel and medSpaCy side by side", allow_abbrev=False)
    parser.add_argument("--rival-python", type=Path, required=True, help="Python of an environment with medSpaCy")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each (default 3)")
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2], help="numbers of processes (default 1 2)")
    parser.add_argument(
        "--split",
        type=Split,
        choices=tuple(Split),
        default=Split.TRAIN,
        help="reports on which labels are compared with codes (default train; test is for the final measure)",
    )
    options = parser.parse_args()
    with TemporaryDirectory(prefix="radlabel-bench-") as folder:
        results = measure(Path(folder), options.rival_python, options.repeats, options.jobs, options.split)
    print(table(results))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def measure(folder: Path, rival_python: Path, repeats: int, jobs: list[int], split: Split) -> dict[str, object]:
    """Return all results as one JSON object."""
    reports, rules = folder / "reports.csv", folder / "rules.json"
    n_reports = write_csv(corpus_reports("openi"), reports)
    exported = export_rules(load_vocabulary())
    rules.write_text(json.dumps(exported), encoding="utf-8")
    radlabel = Path(sys.executable).with_name("radlabel")
    commands: dict[str, list[str | Path]] = {}
    outputs: dict[str, Path] = {}
    for n in map(str, jobs):
        ours, theirs = f"radlabel, {n}", f"medspaCy, {n}"
        outputs |= {ours: folder / f"radlabel-{n}.parquet", theirs: folder / f"medspacy-{n}.parquet"}
        options: list[str | Path] = ["--label-set", LABEL_SET, "--jobs", n]
        commands[ours] = [radlabel, "label", reports, "-o", outputs[ours], *options]
        commands[theirs] = [rival_python, WORKER, rules, reports, outputs[theirs], n]
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for repeat in range(repeats):
        for name, command in commands.items():
            outputs[name].unlink(missing_ok=True)
            runs[name].append(run_measured(command))
            print(f"run {repeat + 1} of {repeats}: {name}: {runs[name][-1].wall_s:.1f} s", file=sys.stderr)
    walls = {name: median(run.wall_s for run in measured) for name, measured in runs.items()}
    speed = {
        name: {
            "reports_per_s": round(n_reports / walls[name], 1),
            "peak_mib": round(max(run.peak_mib for run in measured)),
            "runs": [run.as_json() for run in measured],
        }
        for name, measured in runs.items()
    }
    ratios = {str(n): round(walls[f"medspaCy, {n}"] / walls[f"radlabel, {n}"], 2) for n in jobs}
    labels = {
        "radlabel": score_labels(our_labels(outputs[f"radlabel, {jobs[0]}"]), split),
        "medspaCy": score_labels(their_labels(outputs[f"medspaCy, {jobs[0]}"]), split),
    }
    return {
        "benchmark": "rivals",
        "machine": machine() | rival_versions(rival_python),
        "reports": n_reports,
        "phrases": len(exported["phrases"]) + len(exported["abbreviations"]),
        "speed": speed,
        "times_faster": ratios,
        "labels": {"label_set": LABEL_SET, "split": split, **labels},
    }


def export_rules(vocabulary: Vocabulary) -> dict[str, list[list[str]] | list[str] | dict[str, list[str]]]:
    """Return the vocabulary as a phrase matcher takes it: phrases written out, abbreviations in their exact case."""
    phrases: dict[str, str] = {}
    abbreviations: dict[str, str] = {}
    for entry in vocabulary.findings.values():
        for pattern in entry.synonyms:
            for phrase in expand(pattern):
                for form in with_plural(phrase):
                    phrases.setdefault(form, entry.id)
        for combination in entry.combinations:
            heads = [phrase for pattern in combination.head for phrase in expand(pattern)]
            modifiers = [phrase for pattern in combination.modifier for phrase in expand(pattern)]
            for head in heads:
                for modifier in modifiers:
                    for form in (f"{modifier} {head}", f"{head} {modifier}", f"{head} is {modifier}"):
                        phrases.setdefault(form, entry.id)
        for abbreviation in entry.abbreviations:
            abbreviations.setdefault(abbreviation, entry.id)
    labels_of_concept: dict[str, list[str]] = {}
    label_set = vocabulary.label_set(LABEL_SET)
    for label in label_set.labels:
        covered = {concept for root in label.concepts for concept in vocabulary.descendants(root)}
        covered -= {concept for root in label.exclude for concept in vocabulary.descendants(root)}
        for concept in covered:
            labels_of_concept.setdefault(concept, []).append(label.name)
    return {
        "phrases": [list(pair) for pair in phrases.items()],
        "abbreviations": [list(pair) for pair in abbreviations.items()],
        "labels": [label.name for label in label_set.labels if label.rule is None],
        "labels_of_concept": labels_of_concept,
    }


def with_plural(phrase: str) -> Iterator[str]:
    """Yield a phrase and its plural: the vocabulary is in the singular, and radlabel folds plurals where it reads.

    >>> list(with_plural("lung opacity"))
    ['lung opacity', 'lung opacities']
    """
    yield phrase
    if phrase.endswith("y") and phrase[-2:-1] not in set("aeiou"):
        yield f"{phrase[:-1]}ies"
    elif phrase.endswith(("s", "x", "ch", "sh")):
        yield f"{phrase}es"
    else:
        yield f"{phrase}s"


def our_labels(path: Path) -> dict[str, set[str]]:
    """Return the positive labels of each report in a file that `radlabel label` wrote."""
    prefix = f"{LABEL_SET}:"
    return {
        row["report_id"]: {name.removeprefix(prefix) for name, value in row.items() if value == "positive"}
        for row in pq.read_table(path, columns=["report_id", *label_columns(path, prefix)]).to_pylist()
    }


def label_columns(path: Path, prefix: str) -> list[str]:
    """Return the columns of a label set in a Parquet file."""
    return [name for name in pq.read_schema(path).names if name.startswith(prefix)]


def their_labels(path: Path) -> dict[str, set[str]]:
    """Return the positive labels of each report in a file that the worker wrote."""
    return {
        row["report_id"]: {name for name, value in row.items() if value is True}
        for row in pq.read_table(path).to_pylist()
    }


def score_labels(positive: Mapping[str, Collection[str]], split: Split) -> dict[str, object]:
    """Return the micro-averaged scores of a reader's labels against the human codes."""
    label_set = load_vocabulary().label_set(LABEL_SET)
    wanted = {report.report_id for report in select_split(list(corpus_reports("openi")), split)}
    codes = iter_openi_codes(open_corpus("openi", default_cache_dir(os.environ)))
    gold = {report_id: labels_from_codes(given, label_set) for report_id, given in codes if report_id in wanted}
    names = [label.name for label in label_set.labels if label.mesh and label.name not in UNSCORED[LABEL_SET]]
    scores = score_multilabel(gold, positive, names)
    return {"reports": scores.n_reports, **asdict(scores.micro)}


def rival_versions(python: Path) -> dict[str, object]:
    """Return the versions that the rival runs with."""
    code = "from importlib.metadata import version; print(version('medspacy'), version('spacy'))"
    finished = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    medspacy, spacy = finished.stdout.split()
    return {"rival_medspacy": medspacy, "rival_spacy": spacy}


def table(results: Mapping[str, object]) -> str:
    """Return the results as lines of text."""
    speed, labels = results["speed"], results["labels"]
    assert isinstance(speed, dict)
    assert isinstance(labels, dict)
    lines = [f"{'processes':<16}{'reports/s':>12}{'peak MiB':>12}"]
    lines += [f"{name:<16}{row['reports_per_s']:>12}{row['peak_mib']:>12}" for name, row in speed.items()]
    lines += [f"times faster, by number of processes: {results['times_faster']}", ""]
    lines += [f"labels against human codes, {labels['label_set']}, {labels['split']} reports, micro-averaged"]
    lines += [f"{name:<16}{json.dumps(labels[name])}" for name in ("radlabel", "medspaCy")]
    lines += ["", f"machine: {json.dumps(results['machine'])}"]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
