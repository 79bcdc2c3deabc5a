"""Scores against values worked out by hand, and what must hold for any labels."""

import json
from collections.abc import Mapping
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.text.metrics import bootstrap_counts, compare_micro_f1, divide, interval, score_multilabel

LABELS = ("Edema", "Mass", "Nodule")
GOLD = {
    "a": {"Edema"},
    "b": {"Edema", "Mass"},
    "c": {"Edema"},
    "d": set[str](),
    "e": {"Mass"},
    "f": {"Edema"},
}
READ = {
    "a": {"Edema"},
    "b": {"Edema"},
    "c": set[str](),
    "d": {"Edema"},
    "e": {"Mass", "Edema"},
    "f": {"Edema"},
}

assignments = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=3), st.sets(st.sampled_from(LABELS)), max_size=12
)


def test_scores_are_those_worked_out_by_hand() -> None:
    report = score_multilabel(GOLD, READ, LABELS, n_bootstrap=50)
    edema, mass, nodule = report.labels
    assert (edema.true_positives, edema.false_positives, edema.false_negatives, edema.support) == (3, 2, 1, 4)
    assert (edema.precision, edema.recall) == (3 / 5, 3 / 4)
    assert edema.f1 == pytest.approx(2 / 3)
    assert (mass.precision, mass.recall) == (1.0, 0.5)
    assert mass.f1 == pytest.approx(2 / 3)
    # Pooled: 4 right, 2 too many, 2 missed.
    assert (report.micro.true_positives, report.micro.false_positives, report.micro.false_negatives) == (4, 2, 2)
    assert report.micro.f1 == pytest.approx(2 / 3)
    assert (nodule.support, nodule.precision, nodule.recall, nodule.f1, nodule.f1_low) == (0, None, None, None, None)
    assert report.n_reports == 6


def test_label_that_was_never_read_has_no_precision_and_an_f1_of_zero() -> None:
    (mass,) = score_multilabel({"a": {"Mass"}}, {"a": set()}, ["Mass"], n_bootstrap=10).labels
    assert (mass.precision, mass.recall, mass.f1) == (None, 0.0, 0.0)
    assert (mass.f1_low, mass.f1_high) == (0.0, 0.0)


def test_macro_leaves_out_labels_with_fewer_than_five_positives() -> None:
    gold = {str(i): {"Edema"} if i < 5 else {"Mass"} for i in range(9)}
    read = {str(i): {"Edema"} for i in range(5)}
    report = score_multilabel(gold, read, ["Edema", "Mass"], n_bootstrap=20)
    assert [score.support for score in report.labels] == [5, 4]
    assert report.macro_f1 == 1.0
    assert score_multilabel(GOLD, READ, LABELS, n_bootstrap=20).macro_f1 is None


def test_labels_apart_are_scored_and_change_no_average() -> None:
    without = score_multilabel(GOLD, READ, ["Edema"], n_bootstrap=50)
    apart = score_multilabel(GOLD, READ, ["Edema"], apart=["Mass"], n_bootstrap=50)
    assert (apart.labels, apart.micro, apart.macro_f1) == (without.labels, without.micro, without.macro_f1)
    assert [(score.name, score.support) for score in apart.apart] == [("Mass", 2)]


def test_report_that_was_not_read_counts_as_negative() -> None:
    assert score_multilabel(GOLD, {}, LABELS, n_bootstrap=5).micro.false_negatives == 6


def test_nothing_gives_nothing() -> None:
    report = score_multilabel({}, {}, LABELS, n_bootstrap=10)
    assert report.micro.f1 is None
    assert (report.macro_f1, report.macro_f1_low) == (None, None)
    assert score_multilabel(GOLD, READ, [], n_bootstrap=10).micro.f1 is None


def test_report_is_json_and_knows_its_support() -> None:
    values = json.loads(json.dumps(score_multilabel(GOLD, READ, LABELS, n_bootstrap=10).as_dict()))
    assert values["labels"][0]["name"] == "Edema"
    assert values["labels"][0]["support"] == 4
    assert values["micro"]["f1"] == pytest.approx(2 / 3)
    assert values["labels"][2]["f1"] is None


@given(assignments)
def test_perfect_reading_scores_one(gold: dict[str, set[str]]) -> None:
    report = score_multilabel(gold, gold, LABELS, n_bootstrap=20)
    for score in (*report.labels, report.micro):
        expected = 1.0 if score.support else None
        assert (score.precision, score.recall, score.f1) == (expected,) * 3
        assert score.f1_low in (1.0, None)
        assert score.f1_high == score.f1_low


@given(assignments, assignments, st.permutations(LABELS), st.randoms())
def test_order_of_labels_and_reports_changes_no_number(
    gold: dict[str, set[str]], read: dict[str, set[str]], order: list[str], random: Random
) -> None:
    shuffled = dict(random.sample(list(gold.items()), len(gold)))
    one = score_multilabel(gold, read, LABELS, n_bootstrap=30)
    other = score_multilabel(shuffled, read, order, n_bootstrap=30)
    assert one.micro == other.micro
    assert (one.macro_f1, one.macro_f1_low) == pytest.approx((other.macro_f1, other.macro_f1_low), nan_ok=True)
    assert {s.name: s for s in one.labels} == {s.name: s for s in other.labels}


@given(assignments, assignments)
def test_interval_holds_its_bounds_in_order(gold: dict[str, set[str]], read: dict[str, set[str]]) -> None:
    for score in score_multilabel(gold, read, LABELS, n_bootstrap=30).labels:
        assert (score.f1_low is None) >= (score.f1 is None)
        if score.f1_low is not None and score.f1_high is not None:
            assert 0 <= score.f1_low <= score.f1_high <= 1


def many(reports: int, share: float, seed: int) -> Mapping[str, set[str]]:
    """Return reports of which about ``share`` have an edema."""
    drawn = np.random.default_rng(seed).random(reports) < share
    return {str(i): {"Edema"} if value else set() for i, value in enumerate(drawn)}


def test_interval_contains_the_estimate_and_narrows_with_more_reports() -> None:
    widths = []
    for reports in (50, 500, 5_000):
        micro = score_multilabel(many(reports, 0.5, 1), many(reports, 0.6, 2), ["Edema"], n_bootstrap=300).micro
        assert micro.f1_low is not None
        assert micro.f1_high is not None
        assert micro.f1 is not None
        assert micro.f1_low < micro.f1 < micro.f1_high
        widths.append(micro.f1_high - micro.f1_low)
    assert widths == sorted(widths, reverse=True)
    assert widths[2] == pytest.approx(widths[1] / np.sqrt(10), rel=0.25)


def test_interval_has_the_width_that_theory_gives() -> None:
    # Recall of 0.8 over 400 positives: a binomial share, 1.96 standard errors to each side.
    gold = {str(i): {"Edema"} for i in range(400)}
    read = {str(i): {"Edema"} for i in range(320)}
    micro = score_multilabel(gold, read, ["Edema"], n_bootstrap=2_000).micro
    error = 1.96 * np.sqrt(0.8 * 0.2 / 400)
    assert micro.recall_low == pytest.approx(0.8 - error, abs=0.006)
    assert micro.recall_high == pytest.approx(0.8 + error, abs=0.006)


def test_seed_makes_the_interval() -> None:
    gold, read = many(100, 0.5, 1), many(100, 0.5, 2)
    one, same, other = (score_multilabel(gold, read, ["Edema"], seed=seed) for seed in (7, 7, 8))
    assert one == same
    assert (one.micro.f1_low, one.micro.f1_high) != (other.micro.f1_low, other.micro.f1_high)
    assert one.micro.f1 == other.micro.f1


def test_comparison_of_a_reading_with_itself_finds_nothing() -> None:
    gold, read = many(100, 0.5, 1), many(100, 0.5, 2)
    same = compare_micro_f1(gold, read, read, ["Edema"])
    assert (same.difference, same.low, same.high, same.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_comparison_is_paired_and_has_a_sign() -> None:
    gold = many(400, 0.5, 1)
    worse = {report: set() if int(report) % 5 == 0 else labels for report, labels in gold.items()}
    better = {report: set() if int(report) % 20 == 0 else labels for report, labels in gold.items()}
    there = compare_micro_f1(gold, worse, better, ["Edema"])
    back = compare_micro_f1(gold, better, worse, ["Edema"])
    assert there.difference is not None
    assert there.low is not None
    assert there.p_value is not None
    assert 0 < there.low < there.difference
    assert there.p_value <= 0.01
    assert back.difference == pytest.approx(-there.difference)
    assert back.high == pytest.approx(-there.low)
    # A thousand resamples cannot show that a probability is zero.
    assert there.p_value == pytest.approx(2 / 1_001)


def test_comparison_without_any_positive_is_empty() -> None:
    nothing: dict[str, set[str]] = {"a": set()}
    comparison = compare_micro_f1(nothing, nothing, nothing, ["Edema"])
    assert (comparison.difference, comparison.low, comparison.high, comparison.p_value) == (None,) * 4


def test_resamples_draw_whole_reports() -> None:
    counts = np.ones((1, 7, 2), dtype=np.int64)
    samples = bootstrap_counts(counts, 250, seed=0)
    assert samples.shape == (250, 1, 2)
    assert (samples == 7).all()  # as many reports as there are, so equal rows always sum to the same
    assert bootstrap_counts(np.zeros((3, 0, 2), dtype=np.int64), 4, 0).shape == (4, 3, 2)


def test_ratios_without_denominator_are_not_known() -> None:
    ratios = divide(np.array([1, 0]), np.array([2, 0]))
    assert ratios[0] == 0.5
    assert np.isnan(ratios[1])
    assert interval(np.array([np.nan])) == (None, None)
    assert interval(ratios) == (0.5, 0.5)
