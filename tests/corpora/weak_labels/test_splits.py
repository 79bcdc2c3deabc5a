"""Splits: nothing crosses, nobody moves when the data set grows, and the check finds what others left crossing."""

import io
import itertools
from collections import defaultdict
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from corpora.openi_split import openi_test_ids
from corpora.weak_labels.duplicates import (
    HASH_BYTES,
    hash_distance,
    iter_near_pairs,
    perceptual_hash,
    pixel_digest,
    text_digest,
)
from corpora.weak_labels.errors import SplitLeak, SplitsInvalid
from corpora.weak_labels.leaks import LeakKind, SplitCheckRow, check_splits, find_leaks
from corpora.weak_labels.splits import Grouping, Placed, SetAside, SplitPlan, SplitRow, Splits, assign_splits, split_of

KEY = b"a key for tests"


def flipped(number: int, bits: int) -> bytes:
    """Return one of a few hashes far from one another, with some bits of it flipped."""
    start = np.random.default_rng(number).bytes(HASH_BYTES)
    return (int.from_bytes(start) ^ ((1 << bits) - 1)).to_bytes(HASH_BYTES)


_ROW = st.builds(
    lambda patient, text, picture: (patient, text, picture),
    st.sampled_from([None, *(f"p{number}" for number in range(14))]),
    st.sampled_from([None, b"normal", b"effusion", b"mass", b"edema"]),
    st.one_of(st.none(), st.builds(flipped, st.integers(0, 3), st.sampled_from([0, 3, 9, 16, 25]))),
)
_ROWS = st.lists(_ROW, min_size=1, max_size=40).map(
    lambda rows: [SplitRow(f"i{number}", *row, labels=("Edema",) * (number % 2)) for number, row in enumerate(rows)]
)
_PLANS = st.builds(
    SplitPlan,
    st.just(KEY),
    text=st.sampled_from([Grouping.SET_ASIDE, Grouping.TOGETHER]),
    picture=st.sampled_from([Grouping.SET_ASIDE, Grouping.TOGETHER]),
    shares=st.just({"train": 0.5, "validation": 0.2, "test": 0.3}),
    stratify=st.booleans(),
)


def leaks_of(rows: list[SplitRow], splits: Splits, distance: int = 12) -> tuple[LeakKind, ...]:
    checked = [
        SplitCheckRow(placed.split, row.patient_id, row.text, row.picture)
        for row, placed in zip(rows, splits.rows, strict=True)
        if placed.split is not None
    ]
    return tuple(leak.kind for leak in find_leaks(checked, distance=distance))


@settings(max_examples=150)
@given(_ROWS, _PLANS)
def test_no_patient_text_or_near_picture_crosses(rows: list[SplitRow], plan: SplitPlan) -> None:
    splits = assign_splits(rows, plan)
    assert leaks_of(rows, splits) == ()
    assert sum(splits.counts().values()) == len(rows)
    for row, placed in zip(rows, splits.rows, strict=True):
        assert placed.row_id == row.row_id
        assert (placed.split is None) == (placed.reason is not None)


@settings(max_examples=150)
@given(_ROWS, _PLANS, st.data())
def test_adding_patients_moves_nobody_and_sets_no_earlier_row_aside(
    rows: list[SplitRow], plan: SplitPlan, data: st.DataObject
) -> None:
    count = data.draw(st.integers(0, len(rows)))
    before = assign_splits(rows[:count], plan)
    after = assign_splits(rows, plan, previous=before.rows)
    assert [row.split for row in after.rows[:count]] == [row.split for row in before.rows]
    assert leaks_of(rows, after) == ()


@given(_ROWS)
def test_without_memory_a_patient_keeps_its_split_however_the_data_set_grows(rows: list[SplitRow]) -> None:
    plan = SplitPlan(KEY)
    for count in (1, len(rows) // 2, len(rows)):
        for placed in assign_splits(rows[:count], plan).rows:
            if placed.patient_id is not None:
                assert placed.patient_split == split_of(plan, placed.patient_id)


@given(_ROWS, _PLANS, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_makes_no_difference(rows: list[SplitRow], plan: SplitPlan, random: Random) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)
    first = {row.row_id: row.split for row in assign_splits(rows, plan).rows}
    assert first == {row.row_id: row.split for row in assign_splits(shuffled, plan).rows}


@given(
    _ROWS, _PLANS, st.dictionaries(st.sampled_from([f"p{n}" for n in range(14)]), st.sampled_from(["train", "test"]))
)
def test_a_fixed_list_is_honoured(rows: list[SplitRow], plan: SplitPlan, fixed: dict[str, str]) -> None:
    splits = assign_splits(rows, plan, fixed=fixed)
    assert leaks_of(rows, splits) == ()
    for placed in splits.rows:
        if placed.patient_id in fixed:
            assert placed.patient_split == fixed[placed.patient_id]


def test_the_shares_are_met_within_chance_and_better_when_stratified() -> None:
    labels = np.random.default_rng(0)
    rows = [SplitRow(f"i{n}", f"p{n}", labels=("Rare",) if labels.random() < 0.02 else ()) for n in range(5000)]
    plan = SplitPlan(KEY)
    hashed, placed = assign_splits(rows, plan), assign_splits(rows, replace(plan, stratify=True))
    for splits, tolerance in ((hashed, 0.02), (placed, 0.001)):
        counts = splits.counts()
        for split, share in plan.shares.items():
            assert counts[split] / len(rows) == pytest.approx(share, abs=tolerance)
    rare = [row.split for row, given_row in zip(placed.rows, rows, strict=True) if given_row.labels]
    assert rare.count("test") == pytest.approx(len(rare) * 0.1, abs=1)


def test_a_shared_text_stays_in_the_most_protected_split_or_joins_its_patients() -> None:
    plan = SplitPlan(KEY, {"train": 0.5, "test": 0.5})
    names: dict[str, str] = {}
    for number in range(50):
        names.setdefault(split_of(plan, f"p{number}"), f"p{number}")
    rows = [SplitRow("a", names["train"], b"same"), SplitRow("b", names["test"], b"same")]
    aside = assign_splits(rows, plan)
    assert [row.split for row in aside.rows] == [None, "test"]
    assert aside.rows[0].reason is SetAside.SAME_TEXT
    assert aside.counts() == {"test": 1, "set_aside:same_text": 1}
    together = assign_splits(rows, replace(plan, text=Grouping.TOGETHER))
    assert len({row.split for row in together.rows}) == 1
    assert together.largest_group == 2
    ignored = assign_splits(rows, replace(plan, text=Grouping.IGNORE))
    assert [row.split for row in ignored.rows] == ["train", "test"]


def test_a_newcomer_that_bridges_two_splits_is_set_aside() -> None:
    plan = SplitPlan(KEY, text=Grouping.TOGETHER, picture=Grouping.TOGETHER)
    rows = [SplitRow("a", "p1", b"one"), SplitRow("b", "p2", b"two")]
    before = assign_splits(rows, plan, fixed={"p1": "train", "p2": "test"})
    newcomers = [SplitRow("c", "p3", b"one"), SplitRow("d", "p3", b"two")]
    after = assign_splits([*rows, *newcomers], plan, previous=before.rows)
    assert [row.split for row in after.rows[:2]] == ["train", "test"]
    assert sum(row.split is None for row in after.rows[2:]) >= 1


def test_contradictions_are_refused_without_an_identifier() -> None:
    rows = [SplitRow("a", "secret"), SplitRow("b", "secret")]
    plan = SplitPlan(KEY)
    with pytest.raises(SplitsInvalid, match="1 patients in two splits") as caught:
        assign_splits(rows, plan, fixed={"a": "train", "b": "test"})
    assert "secret" not in str(caught.value)
    with pytest.raises(SplitsInvalid, match="names the split 'dev'"):
        assign_splits(rows, plan, fixed={"a": "dev"})
    before = [Placed("a", "secret", "train", "train")]
    with pytest.raises(SplitsInvalid, match="would move 1 patients"):
        assign_splits(rows, plan, fixed={"a": "test"}, previous=before)
    with pytest.raises(SplitsInvalid, match="must add up to 1"):
        SplitPlan(KEY, {"train": 0.5})
    with pytest.raises(SplitsInvalid, match="key"):
        SplitPlan(b"")


def test_the_check_counts_each_kind_of_leak_and_names_rows_only() -> None:
    near = flipped(1, 0), flipped(1, 4)
    rows = [
        SplitCheckRow("train", "secret", b"t", near[0], b"x", ids=("CXR1",)),
        SplitCheckRow("test", "secret", b"t", near[1], b"x", ids=("CXR2",)),
    ]
    leaks = find_leaks(rows, public_tests={"mine": {"CXR1", "CXR2"}})
    assert {leak.kind for leak in leaks} == set(LeakKind)
    with pytest.raises(SplitLeak, match="near_picture: 1") as caught:
        check_splits(leaks)
    assert "secret" not in str(caught.value)
    assert LeakKind.TEXT not in {leak.kind for leak in find_leaks(rows, check_text=False)}
    check_splits(find_leaks([replace(rows[0], ids=()), replace(rows[0], ids=())]))


def test_a_held_out_report_of_openi_in_training_is_found() -> None:
    held_out = min(openi_test_ids())
    assert [leak.kind for leak in find_leaks([SplitCheckRow("train", "p", ids=(held_out,))])] == [LeakKind.PUBLIC_TEST]
    assert find_leaks([SplitCheckRow("test", "p", ids=(held_out,))]) == ()


@given(
    st.lists(st.builds(flipped, st.integers(0, 4), st.integers(0, 30)), max_size=40),
    st.integers(0, 20),
)
def test_every_near_pair_is_found_or_chained(hashes: list[bytes], distance: int) -> None:
    found = set(iter_near_pairs(hashes, distance))
    assert all(first < second and hash_distance(hashes[first], hashes[second]) <= distance for first, second in found)
    distinct: defaultdict[bytes, list[int]] = defaultdict(list)
    for index, value in enumerate(hashes):
        distinct[value].append(index)
    firsts = [members[0] for members in distinct.values()]
    wanted = {
        (min(a, b), max(a, b))
        for a in firsts
        for b in firsts
        if a < b and hash_distance(hashes[a], hashes[b]) <= distance
    }
    assert wanted <= found
    for members in distinct.values():
        assert set(itertools.pairwise(members)) <= found


def picture(seed: int, side: int = 256) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """Return a smooth invented picture."""
    coarse = np.random.default_rng(seed).random((9, 9)) * 255
    return np.asarray(Image.fromarray(coarse.astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC))


def test_a_picture_stored_again_is_near_and_another_one_far() -> None:
    first = picture(1)
    stream = io.BytesIO()
    Image.fromarray(first).resize((200, 180)).save(stream, "JPEG", quality=60)
    again = np.clip(np.asarray(Image.open(stream)) * 0.8 + 20, 0, 255).astype(np.uint8)
    one, other, far = (perceptual_hash(pixels) for pixels in (first, again, picture(2)))
    assert one is not None
    assert other is not None
    assert far is not None
    assert hash_distance(one, other) <= 12
    assert hash_distance(one, far) > 40
    inverted = perceptual_hash(255 - first)
    assert inverted is not None
    assert hash_distance(one, inverted) > 100


def test_blank_pictures_and_texts_are_like_nothing() -> None:
    assert perceptual_hash(np.zeros((64, 64))) is None
    assert text_digest(" ... ") is None
    assert list(iter_near_pairs([None, None])) == []
    assert text_digest("No effusion.") == text_digest("no  EFFUSION") != text_digest("Effusion.")
    assert text_digest("No effusion.", key=b"k") != text_digest("No effusion.")
    assert pixel_digest(np.zeros((2, 3))) != pixel_digest(np.zeros((3, 2)))
