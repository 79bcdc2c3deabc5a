"""From a recipe and reports to a model folder: the one way in which models are made, shipped or a user's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from corpora.mesh import labels_from_codes
from corpora.openi_split import is_dev, openi_test_ids
from corpora.reports import Report
from corpora.vocabulary import Vocabulary
from models.text.calibration import score_calibration
from models.text.encoder.folder import TOKENIZER, Manifest, read_manifest
from models.text.encoder.readout import LabelCalibration
from models.text.encoder.tokens import SentenceTokenizer, trimmed_tokenizer
from models.text.training.calibrate import calibrate, sigmoid
from models.text.training.card import write_card
from models.text.training.conformance import load_conformance
from models.text.training.curves import draw_curves
from models.text.training.examples import TaughtReport
from models.text.training.export import load_network, write_model
from models.text.training.model_place import check_place
from models.text.training.network import ReportEncoder, base_network, bundled_base
from models.text.training.recipe import Recipe
from models.text.training.runs import Event, GivenReport, Prepared, Run, TrainingData, prepare
from models.text.training.scoring import report_logits

VERSION = "2"


def use_threads(number: int) -> None:
    """Compute with so many threads in this process."""
    torch.set_num_threads(number)


def openi_training_reports(
    reports: Sequence[Report], codes: Mapping[str, Sequence[str]], vocabulary: Vocabulary, label_sets: Sequence[str]
) -> list[GivenReport]:
    """Return Open-i's reports to learn from, with the labels that their MeSH codes give.

    The 771 held-out reports are left out before anything else looks at them; the development reports choose and
    calibrate.
    """
    sets = [vocabulary.label_set(name) for name in label_sets]
    given = []
    for report in reports:
        if report.report_id in openi_test_ids():
            continue
        labels: dict[tuple[str, str], bool] = {}
        if report.report_id in codes:
            for label_set in sets:
                positive = labels_from_codes(codes[report.report_id], label_set)
                labels |= {
                    (label_set.id, label.name): label.name in positive for label in label_set.labels if label.mesh
                }
        given.append(GivenReport(report, labels, is_dev(report.report_id)))
    return given


def build_model(
    recipe: Recipe,
    vocabulary: Vocabulary,
    given: Sequence[GivenReport],
    out: Path,
    *,
    version: str,
    origin: str,
    start: Path | None = None,
    on_event: Callable[[Event], None] = lambda event: None,
    say: Callable[[str], None] = lambda message: None,
) -> Manifest:
    """Train by a recipe and write the model folder ``out``; work in progress lives beside it, in ``out.run``.

    ``start`` is a model folder to go on from, or ``None`` for the general encoder that the recipe's base names.
    ``origin`` says in a sentence what the reports are, for the model card.

    Raises:
        TrainingData: there is nothing to learn from, or the folder of the run belongs to another one.
        ModelUnusable: ``start`` is no usable model folder.
        FolderTaken: ``out`` holds something else than a model.
    """
    check_place(out)
    before = read_manifest(start, files=()) if start is not None else None
    given = _without_one_valued(given, before.layout.label_index.keys() if before else frozenset(), say)
    source: dict[str, Any] = {}

    def make_tokenizer(learned: Sequence[TaughtReport]) -> SentenceTokenizer:
        from tokenizers import Tokenizer

        if start is not None:
            tokenizer = Tokenizer.from_file(str(start / TOKENIZER))
        else:
            base = Tokenizer.from_file(str(bundled_base() / TOKENIZER))
            tokenizer, source["rows"] = trimmed_tokenizer(base, _texts(learned, vocabulary), recipe.base.word_pieces)
        source["tokenizer"] = tokenizer.to_str(pretty=False)
        return SentenceTokenizer(tokenizer, {entry.id: entry.name for entry in vocabulary.findings.values()})

    prepared = prepare(recipe, vocabulary, given, make_tokenizer, say=say)
    torch.manual_seed(recipe.seed)
    network = (
        load_network(start, prepared.layout)
        if start is not None
        else base_network(bundled_base(), source["rows"], prepared.layout, recipe.base.layers, seed=recipe.seed)
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    base = before.digest if before else None
    run = Run(out.with_name(f"{out.name}.run"), recipe, prepared, network.to(device), base=base)
    say(
        f"{len(prepared.train['teacher']):,} reports to learn from ({len(prepared.train['given']):,} with labels), "
        f"{len(prepared.dev):,} for development; {len(prepared.sentences):,} distinct sentences, "
        f"{len(prepared.synthetic):,} made up; {device.type}"
    )
    network = run.go(on_event).to("cpu")
    data = {
        "origin": origin,
        "digest": prepared.digest,
        "reports": len(prepared.train["teacher"]),
        "labelled": len(prepared.train["given"]),
        "development": len(prepared.dev),
        "sentences": len(prepared.sentences),
        "synthetic": len(prepared.synthetic),
    }
    calibration, metrics = _calibrate(network, prepared, before.calibration if before else ())
    draw_curves(run.folder / "metrics.jsonl", run.folder / "curves.png")
    training = {
        "recipe": recipe.model_dump(mode="json"),
        "base": {"name": start.resolve().name, "version": before.version, "digest": before.digest}
        if start is not None and before is not None
        else None,
        "data": data,
        "torch": str(torch.__version__),
    }
    say("writing the model")
    for number, stage in enumerate(recipe.stages[:-1], 1):
        _write_stage(run, stage.name, number, source["tokenizer"], training, version)
    return write_model(
        out,
        network,
        source["tokenizer"],
        vocabulary,
        calibration,
        version=version,
        training=training,
        metrics=metrics,
        card=write_card(training, metrics, version),
        conformance=load_conformance(),
    )


def _write_stage(run: Run, name: str, number: int, tokenizer: str, training: Mapping[str, Any], version: str) -> None:
    """Write the weights after a stage that is not the last as a folder to train on from, in the folder of the run."""
    network = ReportEncoder(run.network.bert.config, run.prepared.layout)
    network.load_state_dict(torch.load(run.folder / f"{name}.pt", weights_only=True))
    recipe = training["recipe"] | {"stages": training["recipe"]["stages"][:number]}
    facts = {**training, "recipe": recipe}
    bias = network.label_bias.detach().numpy()
    write_model(
        run.folder / name,
        network,
        tokenizer,
        run.prepared.vocabulary,
        [
            LabelCalibration(label_set=n.label_set, label=n.label, bias=round(float(bias[i]), 6))
            for i, n in enumerate(run.prepared.layout.labels)
        ],
        version=version,
        training=facts,
        metrics={},
        card=write_card(facts, {}, version),
    )


def _texts(learned: Sequence[TaughtReport], vocabulary: Vocabulary) -> list[str]:
    """Return what the trimmed tokenizer must be able to say: the training sentences and the vocabulary's phrases."""
    texts = [sentence.text for report in learned for sentence, _ in report.sentences]
    texts += [phrase for entry in vocabulary.findings.values() for phrase in (entry.name, *entry.synonyms)]
    texts += [phrase for entry in vocabulary.anatomy.values() for phrase in (entry.name, *entry.synonyms)]
    return texts


def _without_one_valued(
    given: Sequence[GivenReport], known: Set[tuple[str, str]], say: Callable[[str], None]
) -> Sequence[GivenReport]:
    """Return the reports without the labels that have one value in all reports to learn from: they teach nothing.

    Such a label is left as the model to start from reads it, whose labels are ``known``; one that is new to it stays,
    and is learned as a constant, as there is nothing better. Both are told.

    Raises:
        TrainingData: no label has two values.
    """
    values: dict[tuple[str, str], set[bool]] = {}
    for item in given:
        if not item.is_dev:
            for name, value in item.labels.items():
                values.setdefault(name, set()).add(value)
    same = {name: next(iter(seen)) for name, seen in values.items() if len(seen) == 1}
    if values and len(same) == len(values):
        raise TrainingData("every label has one value in all reports to learn from: there is nothing to tell apart")
    for name, value in same.items():
        what = "left as the base reads it" if name in known else "new to the base, so learned as always this"
        say(f"warning: {name[1]} is {'present' if value else 'absent'} in all reports to learn from: {what}")
    kept_out = same.keys() & known
    if not kept_out:
        return given
    return [
        replace(item, labels={name: value for name, value in item.labels.items() if name not in kept_out})
        for item in given
    ]


def _calibrate(
    network: ReportEncoder, prepared: Prepared, before: Sequence[LabelCalibration]
) -> tuple[tuple[LabelCalibration, ...], dict[str, Any]]:
    """Return the calibration of every label; labels without gold here keep what the model they come from had."""
    bias = network.label_bias.detach().numpy()
    columns = {name: chosen for name, chosen in prepared.scored.items() if chosen}
    kept = {(c.label_set, c.label): c for c in before}
    unscored = [
        kept.get((n.label_set, n.label), LabelCalibration(label_set=n.label_set, label=n.label, bias=0.0)).model_copy(
            update={"bias": round(float(bias[i]), 6)}
        )
        for i, n in enumerate(prepared.layout.labels)
    ]
    if not prepared.has_gold:
        return tuple(unscored), {}
    logits = report_logits(network, prepared.sentences, prepared.dev, prepared.tokenizer.pad_id)
    known = np.stack([r.known for r in prepared.dev]) > 0
    gold = (np.stack([r.labels for r in prepared.dev]) > 0.5) & known
    scored = {i for chosen in columns.values() for i in chosen}
    calibration = tuple(
        fitted if i in scored or not before else unscored[i]
        for i, fitted in enumerate(calibrate(logits, gold, known, prepared.layout, bias, columns))
    )
    chances = np.stack(
        [sigmoid(c.scale * logits[:, i].astype(np.float64) + c.offset) for i, c in enumerate(calibration)], axis=1
    )
    metrics: dict[str, Any] = {"development": {"reports": len(prepared.dev), "labels": []}}
    for name, chosen in columns.items():
        said = (chances[:, chosen] >= calibration[chosen[0]].threshold) & known[:, chosen]
        hits = int((said & gold[:, chosen]).sum())
        metrics["development"][f"{name} micro-F1"] = round(
            2 * hits / max(int(said.sum() + gold[:, chosen].sum()), 1), 4
        )
        for i in chosen:
            there = known[:, i]
            score = score_calibration(prepared.layout.labels[i].label, chances[there, i], gold[there, i])
            metrics["development"]["labels"].append({"label_set": name, **score.as_dict()})
    return calibration, metrics
