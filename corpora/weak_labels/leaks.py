"""The check that fails a build: nothing may stand in two splits, and no held-out id in training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from corpora.openi_split import openi_test_ids
from corpora.weak_labels.duplicates import NEAR_DISTANCE, UnionFind, hash_distance, iter_near_pairs
from corpora.weak_labels.errors import SplitLeak


class LeakKind(StrEnum):
    """What stands in two splits."""

    PATIENT = "patient"
    TEXT = "text"
    PICTURE = "picture"  # the same pixels
    NEAR_PICTURE = "near_picture"  # nearly the same picture
    PUBLIC_TEST = "public_test"  # a test id of a named public split outside test


@dataclass(frozen=True, slots=True, repr=False)
class SplitCheckRow:
    """What the check needs of a row of a finished data set. ``ids`` are all names it might have on a public list."""

    split: str
    patient_id: str | None
    text: bytes | None = None
    picture: bytes | None = None
    pixels: bytes | None = None
    ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Leak:
    """One thing in two splits: its kind, the splits, and the rows by their numbers from 0."""

    kind: LeakKind
    splits: tuple[str, ...]
    rows: tuple[int, ...]


def public_test_ids() -> Mapping[str, frozenset[str]]:
    """Return the named public test lists that the check knows: ``openi`` (Peng et al., NegBio, AMIA 2018)."""
    return {"openi": openi_test_ids()}


def find_leaks(
    rows: Sequence[SplitCheckRow],
    *,
    distance: int = NEAR_DISTANCE,
    test_splits: Collection[str] = ("test",),
    public_tests: Mapping[str, Collection[str]] | None = None,
    check_text: bool = True,
) -> tuple[Leak, ...]:
    """Return everything that stands in two splits; nothing for a clean data set.

    Parameters
    ----------
    test_splits
        Splits that nothing is learned from: the only ones where an id of a public test list may stand.
    public_tests
        Name to ids, `public_test_ids` by default; none are checked with an empty mapping.
    check_text
        False where the recipe says that texts may repeat across splits.
    """
    leaks = list(_shared(rows, LeakKind.PATIENT, lambda row: row.patient_id))
    if check_text:
        leaks += _shared(rows, LeakKind.TEXT, lambda row: row.text)
    leaks += _shared(rows, LeakKind.PICTURE, lambda row: row.pixels)
    leaks += _near(rows, distance)
    for ids in (public_test_ids() if public_tests is None else public_tests).values():
        for number, row in enumerate(rows):
            if row.split not in test_splits and not set(ids).isdisjoint(row.ids):
                leaks.append(Leak(LeakKind.PUBLIC_TEST, (row.split,), (number,)))
    return tuple(leaks)


def check_splits(leaks: Sequence[Leak]) -> None:
    """Raise `SplitLeak` if there is any leak; the message counts each kind and names the first rows by number."""
    if not leaks:
        return
    parts = []
    for kind in LeakKind:
        found = [leak for leak in leaks if leak.kind is kind]
        if found:
            rows = ", ".join(str(row + 1) for row in found[0].rows[:5])
            parts.append(f"{kind}: {len(found)} (the first in {' and '.join(found[0].splits)}, rows {rows})")
    raise SplitLeak("the splits leak; " + "; ".join(parts))


def _shared(
    rows: Sequence[SplitCheckRow], kind: LeakKind, name_of: Callable[[SplitCheckRow], str | bytes | None]
) -> Iterable[Leak]:
    members: defaultdict[str | bytes, list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        name = name_of(row)
        if name is not None:
            members[name].append(number)
    yield from _crossing(rows, kind, members.values())


def _near(rows: Sequence[SplitCheckRow], distance: int) -> Iterable[Leak]:
    hashes = [row.picture for row in rows]
    joined = UnionFind(len(rows))
    for first, second in iter_near_pairs(hashes, distance):
        # Only what is near itself counts: two pictures may be near a third that is in neither of their splits.
        if rows[first].split != rows[second].split or hash_distance(hashes[first] or b"", hashes[second] or b"") == 0:
            joined.join(first, second)
    members: defaultdict[int, list[int]] = defaultdict(list)
    for number, root in enumerate(joined.roots()):
        members[root].append(number)
    yield from _crossing(rows, LeakKind.NEAR_PICTURE, members.values())


def _crossing(rows: Sequence[SplitCheckRow], kind: LeakKind, groups: Iterable[Sequence[int]]) -> Iterable[Leak]:
    for group in groups:
        splits = dict.fromkeys(rows[number].split for number in group)
        if len(splits) > 1:
            yield Leak(kind, tuple(splits), tuple(group))
