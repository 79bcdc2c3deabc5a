"""Which label implies which, and the closure of a study's labels under it.

Labels are not closed when a report is read (a consolidation is not also a Lung Opacity unless one is named): a data set
may ask for it. Two sources are at hand: the tree that CheXpert publishes, and the finding vocabulary's own hierarchy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files

import numpy as np
import numpy.typing as npt
import yaml

from corpora.vocabulary.load import Vocabulary
from corpora.vocabulary.schema import LabelSet
from corpora.weak_labels.errors import PolicyInvalid
from corpora.weak_labels.policies import WeakLabelPolicy
from corpora.weak_labels.values import NEGATIVE, NOT_MENTIONED, POSITIVE, UNCERTAIN

Hierarchy = Mapping[str, tuple[str, ...]]


def resolve_hierarchy(policy: WeakLabelPolicy, label_set: LabelSet, vocabulary: Vocabulary) -> Hierarchy:
    """Return label to parents for the policy, within the label set; empty where the policy asks for no closure.

    Raises
    ------
    PolicyInvalid
        The hierarchy names a label the set does not have, or runs in a circle.
    """
    if policy.hierarchy is None:
        return {}
    if policy.hierarchy == "vocabulary":
        return vocabulary_hierarchy(label_set, vocabulary)
    if policy.hierarchy == "chexpert":
        known = {label.name for label in label_set.labels}
        given = published_hierarchy("chexpert")
        missing = sorted({name for child, parents in given.items() for name in (child, *parents)} - known)
        if missing:
            raise PolicyInvalid(f"hierarchy: chexpert needs labels that {label_set.id} lacks: {', '.join(missing)}")
        return given
    policy.check_against(label_set)
    order_of(policy.hierarchy)
    return dict(policy.hierarchy)


def published_hierarchy(name: str) -> Hierarchy:
    """Return a hierarchy that is packaged, by its name.

    >>> published_hierarchy("chexpert")["Pneumonia"]
    ('Consolidation',)
    """
    text = (files("corpora.weak_labels") / "data" / "hierarchies.yaml").read_text("utf-8")
    return {child: tuple(parents) for child, parents in yaml.safe_load(text)[name].items()}


def vocabulary_hierarchy(label_set: LabelSet, vocabulary: Vocabulary) -> Hierarchy:
    """Return label to parents as the vocabulary has it.

    A label is a child of another if all of its concepts are more specific than a concept of the other.
    """
    concepts = {label.name: set(label.concepts) for label in label_set.labels if label.concepts}
    covered = {
        name: frozenset().union(*(vocabulary.descendants(concept) for concept in own)) for name, own in concepts.items()
    }
    found: dict[str, tuple[str, ...]] = {}
    for child, own in concepts.items():
        parents = tuple(
            other for other in concepts if other != child and own <= covered[other] and not concepts[other] <= own
        )
        if parents:
            found[child] = parents
    return found


def order_of(hierarchy: Hierarchy) -> tuple[str, ...]:
    """Return all labels of a hierarchy, each before its parents. Raises `PolicyInvalid` for a circle."""
    done: dict[str, bool] = {}

    def visit(label: str) -> None:
        state = done.get(label)
        if state is False:
            raise PolicyInvalid(f"hierarchy: {label!r} is its own ancestor")
        if state is None:
            done[label] = False
            for parent in hierarchy.get(label, ()):
                visit(parent)
            done[label] = True
            order.append(label)

    order: list[str] = []
    for label in hierarchy:
        visit(label)
    return tuple(reversed(order))


def close_codes(
    codes: npt.NDArray[np.int8], labels: Sequence[str], hierarchy: Hierarchy, *, downwards: bool = False
) -> npt.NDArray[np.int8]:
    """Return the codes (rows, labels) closed under the hierarchy; rows that were not read stay as they are.

    A positive child makes its parent positive ("pneumonia" implies lung opacity), an uncertain one makes a parent that
    is negative or not mentioned uncertain. With ``downwards`` a parent that is still negative makes children negative
    that nobody mentioned. Closing twice is closing once.
    """
    closed = codes.copy()
    place = {label: index for index, label in enumerate(labels)}
    order = [label for label in order_of(hierarchy) if label in place]
    for child in order:
        for parent in hierarchy.get(child, ()):
            if parent not in place:
                continue
            below, above = closed[:, place[child]], closed[:, place[parent]]
            lift = (below == UNCERTAIN) & ((above == NEGATIVE) | (above == NOT_MENTIONED))
            above[lift] = UNCERTAIN
            # A row that was not read has no positive label, so the rule cannot reach it.
            above[below == POSITIVE] = POSITIVE
    if downwards:
        for child in reversed(order):
            for parent in hierarchy.get(child, ()):
                if parent in place:
                    below, above = closed[:, place[child]], closed[:, place[parent]]
                    below[(above == NEGATIVE) & (below == NOT_MENTIONED)] = NEGATIVE
    return closed
