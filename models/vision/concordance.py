"""Where pictures and reports disagree: labels that cross-fitted image scores speak against, by confident learning.

Northcutt, Jiang & Chuang 2021 (J. Artif. Intell. Res. 70, 1373), by the package cleanlab. A disagreement is a reason to
look, and no proof: the picture may be hard, the model may not know the finding, or the report may be right about
something that a picture does not show.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpora.dataset.folder import DatasetFolder
from models.vision.calibration import fit_calibration
from models.vision.errors import OutputExists
from models.vision.metrics import area_under_roc
from models.vision.recipe import Classification
from models.vision.runtime import VisionModel

#: Fewer rows of one value give no estimate.
MIN_OF_EACH = 10
DISAGREEMENTS, SUMMARY = "disagreements.csv", "concordance.json"


@dataclass(frozen=True, slots=True)
class LabelConcordance:
    """How reports and pictures agree on one label. ``estimated_error`` is the share of labels believed to be wrong."""

    label: str
    rows: int
    positives: int
    AUROC: float | None
    estimated_error: float | None
    estimated_false_positives: float | None
    estimated_false_negatives: float | None
    suspected: int


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A row whose label the picture speaks against. ``quality`` is low where they disagree most; rank 1 is lowest."""

    rank: int
    row: int
    label: str
    given: bool
    probability: float
    quality: float
    suspected: bool


def rank_disagreements(
    label: str, given: NDArray[np.bool_], logits: NDArray[np.float32], rows: NDArray[np.int64]
) -> tuple[LabelConcordance, list[Disagreement]]:
    """Return the concordance of one label and all its rows, the likeliest errors first.

    ``given`` and ``logits`` have the shape (rows,); the logits are of models that did not see the row.
    """
    positives = int(given.sum())
    if min(positives, len(given) - positives) < MIN_OF_EACH:
        return LabelConcordance(label, len(given), positives, None, None, None, None, 0), []
    count, filters, rank = (_cleanlab(part) for part in ("count", "filter", "rank"))
    calibration = fit_calibration(logits, given.astype(np.float32))
    chance = calibration.probabilities(logits)
    chances = np.stack([1 - chance, chance], 1)
    labels = given.astype(int)
    joint = count.estimate_joint(labels, chances)  # (given, true)
    quality = rank.get_label_quality_scores(labels, chances, method="self_confidence", adjust_pred_probs=False)
    suspected = filters.find_label_issues(labels, chances, n_jobs=1)
    order = np.argsort(quality, kind="stable")
    ranked = [
        Disagreement(
            number + 1, int(rows[i]), label, bool(given[i]), float(chance[i]), float(quality[i]), bool(suspected[i])
        )
        for number, i in enumerate(order)
    ]
    found = LabelConcordance(
        label,
        len(given),
        positives,
        area_under_roc(given, logits),
        float(joint[0, 1] + joint[1, 0]),
        float(joint[1, 0]),
        float(joint[0, 1]),
        int(suspected.sum()),
    )
    return found, ranked


def audit(
    dataset: DatasetFolder,
    model: VisionModel,
    out: Path,
    *,
    folds: int = 5,
    most: int = 1000,
    threads: int | None = None,
    cache: Path | None = None,
    say: Callable[[str], None] = lambda message: None,
) -> dict[str, Any]:
    """Write a folder of ranked disagreements and return its summary.

    The model's recipe is trained anew for each fold of patients, so that every row is scored by a model that did not
    see its patient. The rows of the split test are not read.

    Raises
    ------
    OutputExists
        ``out`` is there already.
    DatasetUnfit
        The data set has too few patients, or no label with both values.
    VisionModelInvalid
        The model is for another task.
    """
    from models.vision.errors import VisionModelInvalid
    from models.vision.training.cross_fit import cross_fit

    recipe = model.manifest.recipe
    if not isinstance(recipe, Classification):
        raise VisionModelInvalid(f"the model is for {model.task}: a concordance needs scores of findings")
    if out.exists():
        raise OutputExists(f"{out.name} exists: name another folder, or remove it")
    fitted = cross_fit(dataset, recipe, folds=folds, threads=threads, cache=cache, say=say)
    concordances, ranked = [], []
    for index, label in enumerate(fitted.labels):
        rows = np.flatnonzero(fitted.known[:, index])
        given = fitted.targets[rows, index] >= 0.5
        found, disagreements = rank_disagreements(label, given, fitted.logits[rows, index], rows)
        concordances.append(found)
        ranked.append(disagreements)
    ids = dict(
        zip(
            *(dataset.table(["image_id", "report_id"]).column(n).to_pylist() for n in ("image_id", "report_id")),
            strict=True,
        )
    )
    summary = {
        "dataset": dataset.digest,
        "model": model.manifest.digest,
        "folds": folds,
        "rows": len(fitted.image_ids),
        "labels": [asdict(found) for found in concordances],
    }
    building = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    _write(building / DISAGREEMENTS, ranked, fitted.image_ids, ids, most)
    (building / SUMMARY).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    building.replace(out)
    return summary


def _write(
    path: Path,
    ranked: Sequence[Sequence[Disagreement]],
    image_ids: Sequence[str],
    report_ids: dict[str, str],
    most: int,
) -> None:
    """Write the first ``most`` rows of each label, for people to look at picture and report again."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(
            ["label", "rank", "image_id", "report_id", "report_says", "image_probability", "quality", "suspected"]
        )
        for disagreements in ranked:
            for found in disagreements[:most]:
                image_id = image_ids[found.row]
                said = "positive" if found.given else "negative"
                numbers = [f"{found.probability:.4f}", f"{found.quality:.4f}", int(found.suspected)]
                writer.writerow([found.label, found.rank, image_id, report_ids[image_id], said, *numbers])


def _cleanlab(part: str) -> Any:
    from importlib import import_module

    try:
        return import_module(f"cleanlab.{part}")
    except ImportError:
        from models.text.training.extras import ExtraMissing

        raise ExtraMissing("a concordance needs cleanlab: pip install 'radlabel[train]'") from None
