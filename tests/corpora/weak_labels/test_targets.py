"""What a label becomes under each policy, and the closure over a hierarchy."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.errors import ColumnMissing
from corpora.findings import Assertion, LabeledReport, Status, StudyLabel
from corpora.vocabulary.load import load_vocabulary
from corpora.weak_labels import ClassCounts, Treatment, WeakLabelPolicy, load_policy, make_targets
from corpora.weak_labels.errors import PolicyInvalid
from corpora.weak_labels.hierarchy import (
    close_codes,
    order_of,
    published_hierarchy,
    resolve_hierarchy,
    vocabulary_hierarchy,
)
from corpora.weak_labels.policies import LabelPolicy, parse_policy, policy_from
from corpora.weak_labels.targets import describe_policy
from corpora.weak_labels.values import (
    NEGATIVE,
    NOT_MENTIONED,
    POSITIVE,
    UNCERTAIN,
    UNREAD,
    LabelBatch,
    batch_of_reports,
    batch_of_table,
)

KEY = b"a key for tests"
CHEXPERT = [label.name for label in load_vocabulary().label_set("chexpert14").labels]


def batch(codes: list[int], expected: list[float] | None = None, label: str = "Edema") -> LabelBatch:
    values = np.array(expected or [np.nan] * len(codes), dtype=np.float32)[:, None]
    names = tuple(f"r{number}" for number in range(len(codes)))
    return LabelBatch(names, (label,), np.array(codes, dtype=np.int8)[:, None], values)


ALL = [NEGATIVE, POSITIVE, UNCERTAIN, NOT_MENTIONED, UNREAD]


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ({"uncertain": "ignore", "not_mentioned": "ignore"}, [0, 1, None, None, None]),
        ({"uncertain": "zeros", "not_mentioned": "zeros"}, [0, 1, 0, 0, None]),
        ({"uncertain": "ones", "not_mentioned": "zeros"}, [0, 1, 1, 0, None]),
        ({"uncertain": "ones", "not_mentioned": "ones"}, [0, 1, 1, 1, None]),
        ({"uncertain": "multiclass", "not_mentioned": "zeros"}, [0, 1, 2, 0, None]),
        ({"uncertain": "multiclass", "not_mentioned": "multiclass"}, [0, 1, 2, 3, None]),
        ({"uncertain": "probability", "not_mentioned": "probability"}, [0, 1, 0.625, None, None]),
    ],
)
def test_each_value_becomes_what_the_policy_says(rule: dict[str, str], wanted: list[float | None]) -> None:
    policy = policy_from({"default": rule}, "policy.yaml")
    targets = make_targets(batch(ALL, [0.1, 0.9, 0.625, np.nan, 0.5]), policy, key=KEY)
    assert targets.to_table().column("target:Edema").to_pylist() == wanted
    assert targets.to_table().column("mask:Edema").to_pylist() == [value is not None for value in wanted]


def test_silence_is_absence_in_normal_reports_alone() -> None:
    labels = ("No Finding", "Edema", "Pneumonia", "Support Devices")
    rows = [
        ([POSITIVE, NOT_MENTIONED, NOT_MENTIONED, NOT_MENTIONED], 0.0),
        ([POSITIVE, NEGATIVE, NOT_MENTIONED, POSITIVE], 0.0),  # a tube is no finding
        ([NEGATIVE, POSITIVE, NOT_MENTIONED, NOT_MENTIONED], None),
        ([NEGATIVE, UNCERTAIN, NOT_MENTIONED, NOT_MENTIONED], None),
        ([NEGATIVE, POSITIVE, NEGATIVE, NOT_MENTIONED], 0.0),  # denied, whatever else there is
        ([NEGATIVE, POSITIVE, POSITIVE, NOT_MENTIONED], 1.0),
        ([UNREAD, UNREAD, UNREAD, UNREAD], None),
    ]
    codes = np.array([row for row, _ in rows], dtype=np.int8)
    names = tuple(f"r{number}" for number in range(len(rows)))
    blank = np.full(codes.shape, np.nan, dtype=np.float32)
    policy = policy_from({"default": {"not_mentioned": "zeros_if_normal"}}, "p")
    targets = make_targets(LabelBatch(names, labels, codes, blank), policy, key=KEY)
    assert targets.to_table().column("target:Pneumonia").to_pylist() == [wanted for _, wanted in rows]


@given(
    low=st.floats(0, 0.9),
    width=st.floats(0.001, 0.1),
    rows=st.lists(st.text(max_size=5), min_size=1, max_size=30, unique=True),
    cut=st.integers(0, 30),
)
def test_a_smoothed_target_lies_in_its_range_and_depends_on_its_row_alone(
    low: float, width: float, rows: list[str], cut: int
) -> None:
    policy = policy_from({"default": {"uncertain": "smoothed", "uncertain_range": [low, low + width]}}, "p")
    codes = np.full((len(rows), 1), UNCERTAIN, dtype=np.int8)
    blank = np.full(codes.shape, np.nan, dtype=np.float32)
    whole = make_targets(LabelBatch(tuple(rows), ("Edema",), codes, blank), policy, key=KEY)
    parts = [
        make_targets(LabelBatch(tuple(part), ("Edema",), codes[: len(part)], blank[: len(part)]), policy, key=KEY)
        for part in (rows[:cut], rows[cut:])
    ]
    assert (whole.values >= np.float32(low)).all()
    assert (whole.values < np.float32(low + width)).all()
    assert np.array_equal(whole.values, np.concatenate([part.values for part in parts]))


def test_another_key_or_label_smooths_otherwise() -> None:
    policy = policy_from({"default": {"uncertain": "smoothed"}}, "p")
    first = make_targets(batch([UNCERTAIN] * 5), policy, key=KEY).values
    assert not np.array_equal(first, make_targets(batch([UNCERTAIN] * 5), policy, key=b"another").values)
    assert not np.array_equal(first, make_targets(batch([UNCERTAIN] * 5, label="Pneumonia"), policy, key=KEY).values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("default: {uncertain: maybe}", "default > uncertain"),
        ("labels: {Edema: {uncertain_range: [0.9, 0.1], uncertain: smoothed}}", "Edema.*lower first"),
        ("labels: {Edema: {uncertain: multiclass, not_mentioned: smoothed}}", "whole classes"),
        ("default: {not_mentioned: multiclass}", "class 2 would be empty"),
        ("default: {uncertain: zeros_if_normal}", "for not_mentioned alone"),
        ("labels: {Oedema: {uncertain: ones}}", "'Oedema' is no label of chexpert14"),
        ("hierarchy: {Pneumonia: [Opacity]}", "'Opacity' is no label"),
        ("defaults: {}", "defaults"),
        ("- a list", "expected a mapping"),
        ("a: [", "line 1"),
        ("label_set: nih14", "'nih14', not for 'chexpert14'"),
        ("labels: {Edema: {weight: 0}}", "Edema"),
    ],
)
def test_a_policy_that_breaks_a_rule_says_where(text: str, message: str) -> None:
    with pytest.raises(PolicyInvalid, match=message) as caught:
        parse_policy(text, "policy.yaml", load_vocabulary().label_set("chexpert14"))
    assert str(caught.value).startswith("policy.yaml")


def test_a_policy_is_read_from_a_file_and_a_missing_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("labels: {Edema: {uncertain: ones}}\nhierarchy: chexpert\n", encoding="utf-8")
    policy = load_policy(tmp_path / "p.yaml", load_vocabulary().label_set("chexpert14"))
    assert policy.of("Edema").uncertain is Treatment.ONES
    with pytest.raises(PolicyInvalid, match=r"none\.yaml: cannot be read"):
        load_policy(tmp_path / "none.yaml")


def test_a_report_that_was_not_read_or_too_close_to_call_teaches_nothing() -> None:
    reports = [
        LabeledReport("a", Status.NOT_APPLICABLE),
        LabeledReport("b", Status.OK, labels={"chexpert14": {"Edema": StudyLabel(None, abstained=True)}}),
        LabeledReport("c", Status.OK),
        LabeledReport("d", Status.OK, labels={"chexpert14": {"Edema": StudyLabel(Assertion.UNCERTAIN)}}),
    ]
    found = batch_of_reports(reports, "chexpert14", ["Edema"])
    assert found.codes[:, 0].tolist() == [UNREAD, UNREAD, NOT_MENTIONED, UNCERTAIN]
    policy = policy_from({"default": {"uncertain": "ones", "not_mentioned": "zeros"}}, "p")
    assert make_targets(found, policy, key=KEY).mask[:, 0].tolist() == [False, False, True, True]


def test_labels_are_read_from_the_rows_that_labelling_writes() -> None:
    probability = pa.map_(pa.string(), pa.float64())
    entry = pa.struct([("label_set", pa.string()), ("label", pa.string()), ("probability", probability)])
    given_labels = [[{"label_set": "nih14", "label": "Edema", "probability": [("positive", 0.45)]}], [], []]
    table = pa.table(
        {
            "report_id": ["a", "b", "c"],
            "status": pa.array(["ok", "ok", "error"]).dictionary_encode(),
            "nih14:Edema": pa.array([None, "uncertain", None]).dictionary_encode(),
            "labels": pa.array(given_labels, pa.list_(entry)),
        }
    )
    assert batch_of_table(table, "nih14", ["Edema"]).codes[:, 0].tolist() == [NOT_MENTIONED, UNCERTAIN, UNREAD]
    banded = batch_of_table(table.to_batches()[0], "nih14", ["Edema"], band=(0.4, 0.6))
    assert banded.codes[:, 0].tolist() == [UNREAD, UNCERTAIN, UNREAD]
    assert banded.expected[0, 0] == pytest.approx(0.45)
    with pytest.raises(ColumnMissing, match="nih14:Mass"):
        batch_of_table(table, "nih14", ["Mass"])


def test_the_counts_of_parts_add_up_to_the_counts_of_the_whole() -> None:
    policy = policy_from({"default": {"uncertain": "ones"}, "class_weights": "balanced"}, "p")
    codes = [NEGATIVE] * 6 + [POSITIVE, UNCERTAIN, NOT_MENTIONED, UNREAD]
    whole, first, second = (ClassCounts(["Edema"]) for _ in range(3))
    whole.add(make_targets(batch(codes), policy, key=KEY))
    first.add(make_targets(batch(codes[:4]), policy, key=KEY))
    second.add(make_targets(batch(codes[4:]), policy, key=KEY))
    first.merge(second)
    assert first.values("Edema") == whole.values("Edema")
    assert sum(whole.values("Edema").values()) == len(codes)
    assert whole.masked("Edema") == 2
    assert whole.weights(policy) == first.weights(policy) == {"Edema": 3.0}


def test_a_label_nobody_has_weighs_its_own_weight() -> None:
    policy = WeakLabelPolicy.model_validate({"class_weights": "effective_number", "labels": {"Edema": {"weight": 2.0}}})
    counts = ClassCounts(["Edema"])
    counts.add(make_targets(batch([NEGATIVE, NEGATIVE]), policy, key=KEY))
    assert counts.weights(policy) == {"Edema": 2.0}


@given(st.lists(st.lists(st.sampled_from(ALL[:4]), min_size=14, max_size=14), min_size=1, max_size=8), st.booleans())
def test_closing_twice_is_closing_once_and_a_positive_child_has_positive_parents(
    rows: list[list[int]], downwards: bool
) -> None:
    codes = np.array(rows, dtype=np.int8)
    hierarchy = published_hierarchy("chexpert")
    closed = close_codes(codes, CHEXPERT, hierarchy, downwards=downwards)
    assert np.array_equal(close_codes(closed, CHEXPERT, hierarchy, downwards=downwards), closed)
    for child, parents in hierarchy.items():
        for parent in parents:
            below, above = closed[:, CHEXPERT.index(child)], closed[:, CHEXPERT.index(parent)]
            assert (above[below == POSITIVE] == POSITIVE).all()
            assert np.isin(above[below == UNCERTAIN], [POSITIVE, UNCERTAIN]).all()
    # What was positive stays; what nobody mentioned and nothing implies stays too.
    assert (closed[codes == POSITIVE] == POSITIVE).all()
    free = [CHEXPERT.index(name) for name in ("No Finding", "Fracture", "Support Devices")]
    assert np.array_equal(closed[:, free], codes[:, free])


def test_pneumonia_implies_lung_opacity_only_where_asked() -> None:
    vocabulary = load_vocabulary()
    label_set = vocabulary.label_set("chexpert14")
    assert resolve_hierarchy(WeakLabelPolicy(), label_set, vocabulary) == {}
    asked = resolve_hierarchy(WeakLabelPolicy(hierarchy="chexpert"), label_set, vocabulary)
    codes = np.full((1, 14), NOT_MENTIONED, dtype=np.int8)
    codes[0, CHEXPERT.index("Pneumonia")] = POSITIVE
    found = LabelBatch(("r",), tuple(CHEXPERT), codes, np.full(codes.shape, np.nan, dtype=np.float32))
    targets = make_targets(found, WeakLabelPolicy(hierarchy="chexpert"), key=KEY, hierarchy=asked)
    positive = {name for name, value in zip(CHEXPERT, targets.values[0], strict=True) if value == 1}
    assert positive == {"Pneumonia", "Consolidation", "Lung Opacity"}
    assert codes[0, CHEXPERT.index("Lung Opacity")] == NOT_MENTIONED


def test_the_published_hierarchy_needs_its_labels_and_a_circle_is_refused() -> None:
    vocabulary = load_vocabulary()
    with pytest.raises(PolicyInvalid, match="nih14 lacks"):
        resolve_hierarchy(WeakLabelPolicy(hierarchy="chexpert"), vocabulary.label_set("nih14"), vocabulary)
    with pytest.raises(PolicyInvalid, match="own ancestor"):
        order_of({"A": ("B",), "B": ("A",)})


@pytest.mark.parametrize("label_set", ["chexpert14", "nih14", "openi"])
def test_the_hierarchy_of_the_vocabulary_has_no_circle(label_set: str) -> None:
    vocabulary = load_vocabulary()
    hierarchy = vocabulary_hierarchy(vocabulary.label_set(label_set), vocabulary)
    assert set(order_of(hierarchy)) >= set(hierarchy)


def test_policies_are_described_in_words() -> None:
    assert describe_policy(LabelPolicy()) == "uncertain: ignore; not mentioned: ignore"
