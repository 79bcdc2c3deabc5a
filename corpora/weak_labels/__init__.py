"""Weak labels: policies, region hints, filters, splits, and the tables that others read."""

from corpora.weak_labels.policies import LabelPolicy, Treatment, WeakLabelPolicy, load_policy
from corpora.weak_labels.regions import ChestGeometry, hint_mask, hint_regions
from corpora.weak_labels.splits import SplitPlan, SplitRow, assign_splits
from corpora.weak_labels.targets import ClassCounts, Targets, make_targets

__all__ = [
    "ChestGeometry",
    "ClassCounts",
    "LabelPolicy",
    "SplitPlan",
    "SplitRow",
    "Targets",
    "Treatment",
    "WeakLabelPolicy",
    "assign_splits",
    "hint_mask",
    "hint_regions",
    "load_policy",
    "make_targets",
]
