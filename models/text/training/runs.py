"""A training run from reports to a trained network: what it learns from, its stages, checkpoints and metrics.

A run lives in a folder: ``recipe.json`` (what was asked), ``metrics.jsonl`` (what happened), ``checkpoint.pt`` (where a
killed run goes on), and for each stage that is done ``<stage>.pt``. Starting it again in the same folder goes on; a
folder of another recipe, base, vocabulary or data is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from corpora.errors import RadlabelError
from corpora.reports import Report
from corpora.vocabulary import Vocabulary
from corpora.vocabulary.schema import LabelSet
from models.text.encoder.layout import Layout
from models.text.encoder.tokens import SentenceTokenizer
from models.text.sentence_reader import SentenceReader
from models.text.study import StudyReader
from models.text.training.curves import MetricsFile
from models.text.training.examples import (
    ExampleMaker,
    ReportExample,
    SentenceExample,
    TaughtReport,
    digest_of,
    labels_of_teacher,
    teach,
)
from models.text.training.loop import Material, StepDone, Trainer
from models.text.training.network import ReportEncoder
from models.text.training.recipe import Recipe, Stage
from models.text.training.scoring import DevScore, report_logits, score_dev

CHECKPOINT_STEPS = 250
_UNSCORED = frozenset({("nih14", "Hernia")})
# What makes two runs the same, and how it is said where it differs.
_IDENTITY = {
    "recipe": "of another recipe",
    "base": "from another base",
    "vocabulary": "with another vocabulary",
    "data": "on other reports or labels",
}


class TrainingData(RadlabelError, ValueError):
    """What should be learned from cannot be: no reports, one class only, a folder of another run."""


@dataclass(frozen=True, slots=True, repr=False)
class GivenReport:
    """A report to learn from. ``labels`` maps (label set, label) to what was given; what is missing is not known.

    ``is_dev`` keeps it out of learning: it chooses the checkpoint and the calibration.
    """

    report: Report
    labels: Mapping[tuple[str, str], bool]
    is_dev: bool


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a run: a step, an evaluation, the end of a stage."""

    stage: str
    step: StepDone | None = None
    dev: DevScore | None = None
    is_done: bool = False


@dataclass(frozen=True, repr=False)
class Prepared:
    """Everything a run learns from, as numbers."""

    vocabulary: Vocabulary
    layout: Layout
    tokenizer: SentenceTokenizer
    sentences: Sequence[SentenceExample]
    synthetic: Sequence[SentenceExample]
    train: Mapping[str, Sequence[ReportExample]]  # by kind of labels: teacher, given
    dev: Sequence[ReportExample]
    scored: Mapping[str, list[int]]  # the labels with gold, by label set
    digest: str

    @property
    def has_gold(self) -> bool:
        """Tell whether the development reports have a label that is known and scored."""
        columns = [i for chosen in self.scored.values() for i in chosen]
        return any(report.known[columns].any() for report in self.dev)


def prepare(
    recipe: Recipe,
    vocabulary: Vocabulary,
    given: Sequence[GivenReport],
    make_tokenizer: Callable[[Sequence[TaughtReport]], SentenceTokenizer],
    *,
    say: Callable[[str], None] = lambda message: None,
) -> Prepared:
    """Return what a run learns from. ``make_tokenizer`` is given the training reports as the teacher reads them.

    Raises:
        TrainingData: there is no report to learn from, or no label has both values.
    """
    label_sets = [vocabulary.label_set(name) for name in recipe.label_sets]
    layout = Layout.of(vocabulary, label_sets)
    say("reading the reports with the rules")
    taught = list(teach((item.report for item in given), vocabulary))
    learned = [t for t, item in zip(taught, given, strict=True) if not item.is_dev and t.sentences]
    if not learned:
        raise TrainingData("no report to learn from has a sentence that can hold a finding")
    tokenizer = make_tokenizer(learned)
    maker = ExampleMaker(vocabulary, layout, tokenizer)
    study_reader = StudyReader(vocabulary, label_sets)
    train: dict[str, list[ReportExample]] = {"teacher": [], "given": []}
    dev: list[ReportExample] = []
    for item, report in zip(given, taught, strict=True):
        indices = np.array(sorted({i for windows in maker.add(report.sentences) for i in windows}), dtype=np.int32)
        labels, known = _labels(item.labels, layout)
        example = ReportExample(item.report.report_id, indices, labels, known)
        if item.is_dev:
            dev.append(example)
            continue
        if known.any():
            train["given"].append(example)
        by_teacher = labels_of_teacher(report, study_reader, layout)
        train["teacher"].append(ReportExample(item.report.report_id, indices, by_teacher, np.ones_like(by_teacher)))
    n_real = len(maker.examples)
    scored = _scored(label_sets, layout, [*train["given"], *dev])
    synthetic: list[SentenceExample] = []
    if any(stage.synthetic for stage in recipe.stages):
        say("making sentences")
        synthetic = _synthetic(recipe, vocabulary, learned, layout, tokenizer)
    real = maker.examples[:n_real]
    digest = digest_of(real, [*train.values(), dev])
    return Prepared(vocabulary, layout, tokenizer, real, synthetic, train, dev, scored, digest)


def _synthetic(
    recipe: Recipe,
    vocabulary: Vocabulary,
    learned: Sequence[TaughtReport],
    layout: Layout,
    tokenizer: SentenceTokenizer,
) -> list[SentenceExample]:
    from models.text.training.synthetic import make_synthetic

    real = list({(s.text, s.heading): (s, r) for t in learned for s, r in t.sentences if r.findings}.values())
    maker = ExampleMaker(vocabulary, layout, tokenizer)
    batch = []
    for item in make_synthetic(recipe.synthetic, vocabulary, real, seed=recipe.seed):
        batch.append(item)
        if len(batch) == 1000:
            maker.add(batch)
            batch = []
    maker.add(batch)
    return maker.examples


def _labels(given: Mapping[tuple[str, str], bool], layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    labels = np.zeros(len(layout.labels), dtype=np.float32)
    known = np.zeros(len(layout.labels), dtype=np.float32)
    for name, value in given.items():
        i = layout.label_index[name]
        labels[i], known[i] = value, 1.0
    return labels, known


def _scored(label_sets: Sequence[LabelSet], layout: Layout, reports: Sequence[ReportExample]) -> dict[str, list[int]]:
    """Return the columns of the labels that reports give, by label set; a label nobody was given is not scored."""
    known = np.any([r.known > 0 for r in reports], axis=0) if reports else np.zeros(len(layout.labels), dtype=bool)
    return {
        label_set.id: [
            i
            for name, i in layout.label_index.items()
            if name[0] == label_set.id and known[i] and name not in _UNSCORED
        ]
        for label_set in label_sets
    }


class Run:
    """One run in its folder. `go` trains stage after stage and yields what happens.

    ``base`` is the digest of the model that the run starts from, or ``None`` where it starts from the general encoder.
    """

    def __init__(
        self, folder: Path, recipe: Recipe, prepared: Prepared, network: ReportEncoder, *, base: str | None
    ) -> None:
        self.folder = folder
        self.recipe = recipe
        self.prepared = prepared
        self.network = network
        self.metrics = MetricsFile(folder / "metrics.jsonl")
        folder.mkdir(parents=True, exist_ok=True)
        identity = {
            "recipe": recipe.model_dump(mode="json"),
            "base": base,
            "vocabulary": prepared.vocabulary.digest,
            "data": prepared.digest,
        }
        path = folder / "recipe.json"
        if path.is_file():
            before = json.loads(path.read_text("utf-8"))
            if other := [_IDENTITY[key] for key in identity if before.get(key, "") != identity[key]]:
                raise TrainingData(
                    f"{folder} holds a run {' and '.join(other)}: remove it, or give the model another name"
                )
        else:
            _write(path, (json.dumps(identity, indent=2) + "\n").encode())

    def go(self, on_event: Callable[[Event], None] = lambda event: None) -> ReportEncoder:
        """Train what is not trained yet; return the network with the averaged weights of the last stage's best point.

        The development reports choose that point among the stage's evaluations, if there are any.
        """
        for stage in self.recipe.stages:
            done = self.folder / f"{stage.name}.pt"
            if not done.is_file():
                self._train(stage, on_event)
            self.network.load_state_dict(torch.load(done, weights_only=True))
            on_event(Event(stage.name, is_done=True))
        return self.network

    def _train(self, stage: Stage, on_event: Callable[[Event], None]) -> None:
        prepared = self.prepared
        reports = prepared.train[stage.labels]
        if not reports:
            raise TrainingData(f"stage {stage.name!r} learns from given labels, and no report has any")
        material = Material(
            prepared.sentences, reports, prepared.synthetic, prepared.tokenizer.pad_id, prepared.tokenizer.mask_id
        )
        trainer = Trainer(self.network, stage, material, seed=self.recipe.seed)
        checkpoint = self.folder / "checkpoint.pt"
        best: tuple[float, dict[str, torch.Tensor]] | None = None
        if checkpoint.is_file():
            state = torch.load(checkpoint, weights_only=True)
            if state["stage"] == stage.name:
                trainer.restore(state)
                best = state["best"]
        self.metrics.cut(stage.name, trainer.step)
        for happened in trainer.run():
            on_event(Event(stage.name, step=happened))
            if happened.step % 10 == 0 or happened.step == trainer.n_steps:
                losses = {"tokens": happened.token_loss, "labels": happened.label_loss}
                self.metrics.add(stage.name, {"step": happened.step, **losses})
            if _is_evaluation(happened.step, trainer.n_steps, stage.evaluations):
                score = self.score(trainer.average)
                if score is not None:
                    on_event(Event(stage.name, dev=score))
                    self.metrics.add(stage.name, {"step": happened.step, "dev": score.micro_f1, "dev_loss": score.loss})
                # The last stage may keep an earlier point; a stage that others follow is trained to its end.
                is_last = stage is self.recipe.stages[-1]
                if best is None or score is None or not is_last or score.mean > best[0]:
                    best = (score.mean if score else 0.0, {k: v.clone() for k, v in trainer.average.items()})
            if happened.step % CHECKPOINT_STEPS == 0:
                _save(checkpoint, trainer.state() | {"best": best})
        assert best is not None
        _save(self.folder / f"{stage.name}.pt", best[1])
        checkpoint.unlink(missing_ok=True)

    def score(self, weights: Mapping[str, torch.Tensor]) -> DevScore | None:
        """Return how weights do on the development reports, or ``None`` if there are none with labels."""
        prepared = self.prepared
        columns = {name: chosen for name, chosen in prepared.scored.items() if chosen}
        if not prepared.has_gold:
            return None
        network = ReportEncoder(self.network.bert.config, prepared.layout)
        network.load_state_dict(weights)
        network.to(next(self.network.parameters()).device)
        logits = report_logits(network, prepared.sentences, prepared.dev, prepared.tokenizer.pad_id)
        return score_dev(logits, prepared.dev, columns)


def _is_evaluation(step: int, n_steps: int, evaluations: int) -> bool:
    """Return whether a step ends one of the equal parts of a stage."""
    return (step * evaluations) // n_steps > ((step - 1) * evaluations) // n_steps


def _save(path: Path, value: object) -> None:
    temporary = path.with_suffix(".tmp")
    torch.save(value, temporary)
    temporary.replace(path)


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(data)
    temporary.replace(path)


__all__ = ["Event", "GivenReport", "Prepared", "Run", "SentenceReader", "TrainingData", "prepare"]
