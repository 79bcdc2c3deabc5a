"""Side, place, degree, change and size: which words of a sentence describe which mention.

An attribute that follows a preposition describes the finding before it ("opacity in the left base"); any other
describes the finding after it ("small left effusion") or, behind a verb, the one before ("the effusion is small").
Members of a list share what stands before the first of them.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterator

from corpora.findings import Measurement
from models.text.clauses import CONTRASTS
from models.text.lexicon import Layers, Match
from models.text.mentions import Mention

_FIELDS = ("laterality", "severity", "temporality", "anatomy")
_SIZE = re.compile(
    r"(?<![\d.])(\d+(?:\.\d+)?)\s*(?:(mm|cm)\s*)?(?:(?:x|by|×)\s*(\d+(?:\.\d+)?)\s*(?:(mm|cm)\s*)?)?"
    r"(?:(?:x|by|×)\s*(\d+(?:\.\d+)?)\s*)?-?\s*(mm|cm|millimeters?|centimeters?|millimetres?|centimetres?)\b",
    re.IGNORECASE,
)
_REACH = 12  # words between a finding and its size


def attach_attributes(layers: Layers, clauses: list[int], mentions: list[Mention], pulmonary: Collection[str]) -> None:
    """Give every mention the attributes that describe it; ``pulmonary`` are the concepts of lung and pleura."""
    hosts = [m for m in mentions if not m.is_denial]
    if not hosts:
        return
    for name in _FIELDS:
        for match in getattr(layers, name):
            if name == "temporality" and _is_compared_with_a_size(layers, match):
                continue
            for host in _hosts(layers, clauses, hosts, match):
                values: list[str] = getattr(host, name)
                if str(match.value) not in values:
                    values.append(str(match.value))
                is_outside = match.start < host.start or host.end < match.end
                host.is_placed |= name == "laterality" or (name == "anatomy" and is_outside)
    _share_in_lists(layers, clauses, hosts)
    _inherit_from_sign(layers, hosts, pulmonary)
    _attach_measurements(layers, clauses, hosts)


def _is_compared_with_a_size(layers: Layers, match: Match) -> bool:
    """Whether "larger" or "smaller" says how large something is, not how it changed: "nodules larger than 5 mm"."""
    following = layers.words.words[match.end : match.end + 2]
    return len(following) == 2 and following[0] == "than" and following[1][0].isdigit()


def _hosts(layers: Layers, clauses: list[int], mentions: list[Mention], match: Match) -> list[Mention]:
    """Return the mentions that one attribute phrase describes."""
    inside = [m for m in mentions if m.start <= match.start and match.end <= m.end]
    if inside:
        return inside
    clause = clauses[match.start]
    before = [m for m in mentions if m.end <= match.start and clauses[m.anchor_start] == clause]
    after = [m for m in mentions if m.start >= match.end and clauses[m.anchor_start] == clause]
    if _follows_preposition(layers, match) and before and not _opens_next(layers, match, before[-1], after):
        host = before[-1]
        return [host, *_joined_before(layers, before)]
    if after and (not before or _leads_to(layers, match, after[0])):
        return [after[0]]
    if before:
        host = before[-1]
        if any(c.value in {"negation_before", "normal"} and host.end <= c.start <= match.start for c in layers.cues):
            return []  # "emphysema without acute disease"
        words = layers.words.words
        gap = words[host.end : match.start]
        if ("and" in gap or "," in gap) and after and not _has_cue(layers, host.end, match.start, {"verb", "persists"}):
            return [after[0]]
        return [host]
    return []


def _follows_preposition(layers: Layers, match: Match) -> bool:
    """Whether a preposition governs an attribute: only attributes and joining words lie between the two."""
    words = layers.words.words
    i = match.start - 1
    descriptive = _covered(layers)
    while i >= 0:
        if any(c.value == "preposition" and c.start <= i < c.end for c in layers.cues):
            return True
        if i in descriptive or words[i] in _FILLERS:
            i -= 1
            continue
        return False
    return False


_FILLERS = frozenset(
    {
        "the",
        "and",
        "or",
        ",",
        "a",
        "an",
        "both",
        "greater",
        "than",
        "more",
        "xxxx",
        "mid",
        "region",
        "aspect",
        "portion",
        "lateral",
        "medial",
        "anterior",
        "posterior",
    }
)


def _covered(layers: Layers) -> set[int]:
    return {i for name in _FIELDS for m in getattr(layers, name) for i in range(m.start, m.end)}


def _opens_next(layers: Layers, match: Match, earlier: Mention, after: list[Mention]) -> bool:
    """Whether an attribute behind a joint begins the next finding: "tube below the carina, and left jugular line"."""
    words = layers.words.words
    joined = {",", "and"} & set(words[max(earlier.end, match.start - 2) : match.start])
    if not joined or not after or not _leads_to(layers, match, after[0]):
        return False
    return not {"and", "or"} & set(words[match.end : after[0].start])


def _leads_to(layers: Layers, match: Match, mention: Mention) -> bool:
    """Whether an attribute is a premodifier: nothing but describing words up to the mention."""
    if _has_cue(
        layers,
        match.end,
        mention.start,
        {"verb", "persists", "preposition", "terminator", "existential", "negation_before"},
    ):
        return False
    return not any(w in {",", ";"} for w in layers.words.words[match.end : mention.start])


def _has_cue(layers: Layers, start: int, end: int, kinds: Collection[str]) -> bool:
    return any(c.value in kinds and start <= c.start and c.end <= end for c in layers.cues)


def _joined_before(layers: Layers, before: list[Mention]) -> Iterator[Mention]:
    """Yield the mentions joined to the last one by "and", "or", "/": they share the place that follows."""
    for earlier, later in zip(reversed(before[:-1]), reversed(before), strict=False):
        gap = layers.words.words[earlier.end : later.start]
        if not any(w in {"and", "or", "/", "&"} for w in gap) or _has_cue(
            layers, earlier.end, later.start, {"verb", "preposition", "terminator", "persists"}
        ):
            return
        yield earlier


def _share_in_lists(layers: Layers, clauses: list[int], mentions: list[Mention]) -> None:
    """Let members of a list inherit side and place from the member before ("left basilar atelectasis or
    infiltrate").
    """
    for earlier, later in itertools.pairwise(mentions):
        if clauses[earlier.anchor_start] != clauses[later.anchor_start]:
            continue
        gap = layers.words.words[earlier.end : later.start]
        if later.is_placed and not earlier.is_placed and _is_one_phrase(layers, earlier, later):
            _copy_place(later, earlier)  # "calcified right midlung nodule"
            continue
        if not any(w in {"and", "or", "/", "&", "versus", "vs"} for w in gap) or _has_cue(
            layers, earlier.end, later.start, {"verb", "persists", "terminator", "preposition"}
        ):
            continue
        if not later.is_placed and earlier.is_placed:
            _copy_place(earlier, later)


def _is_one_phrase(layers: Layers, earlier: Mention, later: Mention) -> bool:
    """Whether only describing words lie between two mentions, so that both are parts of one noun phrase."""
    covered = _covered(layers)
    return later.start - earlier.end <= 4 and all(i in covered for i in range(earlier.end, later.start))


_BREAKS = frozenset({"negation_before", "negation_after", "resolved_after"})


def _inherit_from_sign(layers: Layers, mentions: list[Mention], pulmonary: Collection[str]) -> None:
    """Let an explanation lie where the sign lies that it explains ("opacity in the left base, likely atelectasis").

    Lung and pleura only: elsewhere two findings of one sentence have less to do with each other.
    """
    words = layers.words.words
    near = [m for m in mentions if m.concept_id in pulmonary]
    for source, target in itertools.pairwise(near):
        if target.is_placed and not source.is_placed and _is_joined(layers, source, target):
            _copy_place(target, source)
        if target.is_placed or not source.is_placed:
            continue
        gap = words[source.end : target.start]
        if ";" in gap or CONTRASTS & set(gap) or _has_cue(layers, source.end, target.start, _BREAKS):
            continue
        _copy_place(source, target)


def _copy_place(source: Mention, target: Mention) -> None:
    target.laterality = list(source.laterality)
    target.anatomy += [place for place in source.anatomy if place not in target.anatomy]
    target.is_placed = True


def _is_joined(layers: Layers, earlier: Mention, later: Mention) -> bool:
    """Whether two mentions are members of one list, so that what is said behind the last holds for both."""
    words = layers.words.words[earlier.end : later.start]
    if "consistent" in words or "compatible" in words:
        return True
    return _has_cue(layers, earlier.end, later.start, {"alternative", "conjunction"}) and not _has_cue(
        layers, earlier.end, later.start, {"verb", "persists", "terminator", "preposition", *_BREAKS}
    )


def parse_measurements(text: str) -> Iterator[tuple[int, int, Measurement]]:
    """Yield (start, end, measurement) of every size in a text, up to three extents.

    >>> [m.size_mm for _, _, m in parse_measurements("a 1.2 x 0.8 cm nodule and a 4 mm one")]
    [(12.0, 8.0), (4.0,)]
    """
    for match in _SIZE.finditer(text):
        first, first_unit, second, second_unit, third, unit = match.groups()
        unit = "mm" if unit.lower().startswith("m") else "cm"
        numbers = [(n, u or unit) for n, u in ((first, first_unit), (second, second_unit), (third, unit)) if n]
        values = tuple(float(n) for n, _ in numbers)
        size_mm = tuple(round(float(n) * (10.0 if u.lower() == "cm" else 1.0), 3) for n, u in numbers)
        yield match.start(), match.end(), Measurement(values=values, unit=unit, size_mm=size_mm)


def _attach_measurements(layers: Layers, clauses: list[int], mentions: list[Mention]) -> None:
    text = layers.words.text
    if not any(character.isdigit() for character in text):
        return
    starts, ends = layers.words.starts, layers.words.ends
    for start, end, measurement in parse_measurements(text):
        first = next((i for i, s in enumerate(starts) if s >= start), None)
        last = next((i for i, e in enumerate(ends) if e >= end), None)
        if first is None or last is None:
            continue
        # "4 cm above the carina" is where a tube ends, not how large anything is.
        if any(c.value == "distance" and last < c.start <= last + 1 for c in layers.cues):
            continue
        near = [
            (max(first - m.end, m.start - last - 1, 0), m)
            for m in mentions
            if clauses[m.anchor_start] == clauses[first] and m.measurement is None
        ]
        if near:
            distance, host = min(near, key=lambda item: item[0])
            if distance <= _REACH:
                host.measurement = measurement
