"""Which split each row of a data set belongs to: by patient, repeatable, stable when the data set grows.

A patient's split follows from a keyed hash of the patient alone, so nobody is moved by rows that come or go. What ties
patients together (the same text, nearly the same picture) is settled afterwards, in one of two ways:

- ``set_aside`` (the default): everyone keeps the split of the hash, and rows whose text or picture also stands in
  another split are taken out of all but one of them. Needs no memory; costs rows.
- ``together``: patients that share a text or a picture are joined (union-find) and go to one split. Costs no row, but a
  newcomer may join two groups that were apart: give the earlier result as ``previous``, and those who have a split keep
  it, newcomers follow them, and a newcomer's row that would bridge two splits is set aside.

With ``previous``, no row that had a split changes it, and none is set aside, in either way.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b

from corpora.weak_labels.duplicates import NEAR_DISTANCE, UnionFind, iter_near_pairs
from corpora.weak_labels.errors import SplitsInvalid
from corpora.weak_labels.stratify import balanced_order


class Grouping(StrEnum):
    """What becomes of patients that share a text or a picture."""

    SET_ASIDE = "set_aside"
    TOGETHER = "together"
    IGNORE = "ignore"


class SetAside(StrEnum):
    """Why a row is in no split."""

    NO_PATIENT = "no_patient"  # its patient is not known, so nothing can be promised of it
    SAME_TEXT = "same_text"  # its text also stands in another split
    SAME_PICTURE = "same_picture"  # nearly the same picture also stands in another split
    EARLIER = "earlier"  # it was set aside before


@dataclass(frozen=True, slots=True, repr=False)
class SplitRow:
    """What splitting needs of a row: its id, patient, digests of text and picture, and the labels to balance."""

    row_id: str
    patient_id: str | None
    text: bytes | None = None
    picture: bytes | None = None
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, repr=False)
class Placed:
    """Where a row went: its split, or ``None`` and why. ``patient_split`` is the patient's."""

    row_id: str
    patient_id: str | None
    split: str | None
    patient_split: str | None
    reason: SetAside | None = None


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """How to split.

    Parameters
    ----------
    key
        Seeds the hash; the same key gives the same splits. Keep it with the recipe.
    shares
        Split to its share of the patients, in the order of protection: the last is the most protected, and a text or a
        picture that stands in two splits stays in the later one. The shares add up to 1.
    text, picture
        What becomes of shared texts and of nearly identical pictures.
    distance
        Bits in which the perceptual hashes of nearly identical pictures may differ.
    stratify
        Place patients by need instead of by hash, the rarest label first (Sechidis et al. 2011, iterative
        stratification). Closer to the shares, but stable only if ``previous`` is given.
    """

    key: bytes = field(repr=False)
    shares: Mapping[str, float] = field(default_factory=lambda: {"train": 0.8, "validation": 0.1, "test": 0.1})
    text: Grouping = Grouping.SET_ASIDE
    picture: Grouping = Grouping.SET_ASIDE
    distance: int = NEAR_DISTANCE
    stratify: bool = False

    def __post_init__(self) -> None:
        if not self.key:
            raise SplitsInvalid("splitting needs a key that is not empty")
        if not self.shares or any(share < 0 for share in self.shares.values()):
            raise SplitsInvalid("shares need at least one split and no number below 0")
        if abs(sum(self.shares.values()) - 1) > 1e-6:
            raise SplitsInvalid(f"the shares add up to {sum(self.shares.values()):g}; they must add up to 1")


@dataclass(frozen=True, slots=True, repr=False)
class Splits:
    """The rows in their order with their splits, and the size of the largest group of patients tied together."""

    rows: tuple[Placed, ...]
    largest_group: int

    def counts(self) -> Counter[str]:
        """Return how many rows are in each split, or were set aside for each reason; they add up to all rows."""
        return Counter(row.split or f"set_aside:{row.reason}" for row in self.rows)


def hash_share(key: bytes, name: str) -> float:
    """Return a number of [0, 1) that follows from the key and the name alone."""
    digest = blake2b(name.encode("utf-8", "surrogatepass"), key=key[:64], digest_size=8, person=b"split").digest()
    return int.from_bytes(digest) / 2**64


def split_of(plan: SplitPlan, patient_id: str) -> str:
    """Return the split of a patient by the hash alone."""
    number, total = hash_share(plan.key, patient_id), 0.0
    used = [(name, share) for name, share in plan.shares.items() if share > 0]
    for name, share in used:
        total += share
        if number < total:
            return name
    return used[-1][0]  # the shares may add up to a little less than 1 in binary


def assign_splits(
    rows: Sequence[SplitRow],
    plan: SplitPlan,
    *,
    fixed: Mapping[str, str] | None = None,
    previous: Iterable[Placed] = (),
) -> Splits:
    """Return the split of every row.

    No patient is in two splits; unless ignored, no text and no near-identical picture is either. The order of the rows
    makes no difference.

    Parameters
    ----------
    fixed
        Row id or patient id to split: external lists. A row that is named takes its patient along.
    previous
        The rows of an earlier result. Rows that are gone still keep their patient's split.

    Raises
    ------
    SplitsInvalid
        A list names a split that is none, puts one patient in two, or contradicts an earlier result.
    """
    earlier = {row.row_id: row for row in previous}
    pinned = _earlier_patients(earlier.values(), plan)
    listed = _listed_patients(rows, fixed or {}, pinned, plan)
    clusters = _Clusters.of(rows, plan)
    patients, largest = _place_patients(rows, plan, {**listed, **pinned}, clusters)
    decided = [_first_place(row, patients, earlier.get(row.row_id)) for row in rows]
    for groups, grouping, reason in (
        (clusters.texts, plan.text, SetAside.SAME_TEXT),
        (clusters.pictures, plan.picture, SetAside.SAME_PICTURE),
    ):
        if grouping is not Grouping.IGNORE:
            _settle(decided, groups, reason, plan, earlier, listed)
    return Splits(tuple(decided), largest)


@dataclass(frozen=True, slots=True)
class _Clusters:
    """Row numbers that share a text, and row numbers whose pictures are near one another."""

    texts: tuple[tuple[int, ...], ...]
    pictures: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, rows: Sequence[SplitRow], plan: SplitPlan) -> _Clusters:
        by_text: defaultdict[bytes, list[int]] = defaultdict(list)
        for number, row in enumerate(rows):
            if row.text is not None and row.patient_id and plan.text is not Grouping.IGNORE:
                by_text[row.text].append(number)
        joined = UnionFind(len(rows))
        if plan.picture is not Grouping.IGNORE:
            hashes = [row.picture if row.patient_id else None for row in rows]
            for first, second in iter_near_pairs(hashes, plan.distance):
                joined.join(first, second)
        near: defaultdict[int, list[int]] = defaultdict(list)
        for number, root in enumerate(joined.roots()):
            near[root].append(number)
        texts = tuple(tuple(group) for group in by_text.values() if len(group) > 1)
        return cls(texts, tuple(tuple(group) for group in near.values() if len(group) > 1))


def _earlier_patients(earlier: Iterable[Placed], plan: SplitPlan) -> dict[str, str]:
    patients: dict[str, str] = {}
    for row in earlier:
        if row.patient_id is None or row.patient_split is None:
            continue
        if row.patient_split not in plan.shares:
            raise SplitsInvalid(f"the earlier result has a split {row.patient_split!r} that the shares do not name")
        if patients.setdefault(row.patient_id, row.patient_split) != row.patient_split:
            raise SplitsInvalid("the earlier result has one patient in two splits")
    return patients


def _listed_patients(
    rows: Sequence[SplitRow], fixed: Mapping[str, str], pinned: Mapping[str, str], plan: SplitPlan
) -> dict[str, str]:
    unknown = sorted(set(fixed.values()) - set(plan.shares))
    if unknown:
        raise SplitsInvalid(f"a fixed list names the split {unknown[0]!r}; the shares have {', '.join(plan.shares)}")
    patients: dict[str, str] = {}
    torn: set[str] = set()
    moved: set[str] = set()
    for row in rows:
        if row.patient_id is None:
            continue
        for name in (row.row_id, row.patient_id):
            split = fixed.get(name)
            if split is not None and patients.setdefault(row.patient_id, split) != split:
                torn.add(row.patient_id)
            if split is not None and pinned.get(row.patient_id, split) != split:
                moved.add(row.patient_id)
    if torn:
        raise SplitsInvalid(f"the fixed lists put {len(torn)} patients in two splits")
    if moved:
        raise SplitsInvalid(f"the fixed lists would move {len(moved)} patients from the split of the earlier result")
    return patients


def _place_patients(
    rows: Sequence[SplitRow], plan: SplitPlan, known: Mapping[str, str], clusters: _Clusters
) -> tuple[dict[str, str], int]:
    """Return the split of every patient, and how many patients the largest group has."""
    names = sorted({row.patient_id for row in rows if row.patient_id})
    number = {name: index for index, name in enumerate(names)}
    joined = UnionFind(len(names))
    for groups, grouping in ((clusters.texts, plan.text), (clusters.pictures, plan.picture)):
        if grouping is Grouping.TOGETHER:
            for group in groups:
                first, *others = (number[rows[member].patient_id or ""] for member in group)
                for other in others:
                    joined.join(first, other)
    members: defaultdict[int, list[str]] = defaultdict(list)
    for name, root in zip(names, joined.roots(), strict=True):
        members[root].append(name)
    patients: dict[str, str] = {}
    free: list[list[str]] = []
    for group_names in members.values():
        splits = {known[name] for name in group_names if name in known}
        if not splits:
            free.append(group_names)
            continue
        for name in group_names:
            # A group whose members were fixed in two splits cannot be one: the rest go by their own hash.
            patients[name] = known.get(name) or (next(iter(splits)) if len(splits) == 1 else split_of(plan, name))
    if plan.stratify:
        patients |= balanced_order(rows, free, patients, plan.shares, lambda name: hash_share(plan.key, name))
    else:
        for group_names in free:
            anchor = min(group_names, key=lambda name: hash_share(plan.key, f"anchor:{name}"))
            patients |= dict.fromkeys(group_names, split_of(plan, anchor))
    return patients, max((len(group_names) for group_names in members.values()), default=0)


def _first_place(row: SplitRow, patients: Mapping[str, str], earlier: Placed | None) -> Placed:
    if not row.patient_id:
        return Placed(row.row_id, None, None, None, SetAside.NO_PATIENT)
    split = patients[row.patient_id]
    if earlier is not None and earlier.split is None and earlier.reason is not SetAside.NO_PATIENT:
        return Placed(row.row_id, row.patient_id, None, split, SetAside.EARLIER)
    return Placed(row.row_id, row.patient_id, split, split)


def _settle(
    decided: list[Placed],
    groups: Iterable[Sequence[int]],
    reason: SetAside,
    plan: SplitPlan,
    earlier: Mapping[str, Placed],
    listed: Mapping[str, str],
) -> None:
    """Leave the rows of each group in one split: that of rows placed before, else of listed ones, else the last."""
    order = {name: rank for rank, name in enumerate(plan.shares)}

    def has_split_before(row: Placed) -> bool:
        before = earlier.get(row.row_id)
        return before is not None and before.split is not None

    for group in groups:
        members = [number for number in group if decided[number].split is not None]
        old = [number for number in members if has_split_before(decided[number])]
        voters = old or [number for number in members if decided[number].patient_id in listed] or members
        splits = {decided[number].split for number in voters}
        # Rows placed before stay in any case. Where they stand in two splits (a newcomer bridges them), newcomers go.
        keeps = max(splits, key=lambda name: order[name or ""]) if splits and not (old and len(splits) > 1) else None
        for number in members:
            row = decided[number]
            if row.split != keeps and number not in old:
                decided[number] = Placed(row.row_id, row.patient_id, None, row.patient_split, reason)
