"""The form of the vocabulary's YAML files. Unknown keys are refused.

A file may hold any of the top-level keys of `VocabularyFile`; the packaged files split them by topic, a user's file
(``--vocabulary``) usually adds ``findings`` and ``label_sets``. Phrases are written in lower case, singular and
American spelling: the matcher folds case, plural, British spelling and hyphens on both sides
(`corpora.vocabulary.words`). Ids are ``snake_case`` and never change once released.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints

Id = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
Cui = Annotated[str, StringConstraints(pattern=r"^C\d{7}$")]
Phrase = Annotated[str, StringConstraints(strip_whitespace=True, min_length=2)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FindingKind(StrEnum):
    """What sort of thing a concept is. Only a ``pathology`` can stand against No Finding."""

    PATHOLOGY = "pathology"
    DEVICE = "device"  # tubes, lines, implants, clips
    PROCEDURE = "procedure"  # traces of surgery: sternotomy, mastectomy
    VARIANT = "variant"  # azygos lobe, nipple shadow, cervical rib
    TECHNICAL = "technical"  # rotated, underexposed, low lung volumes by effort


class Combination(_Strict):
    """A concept said in two parts: a ``head`` and a ``modifier`` in one clause, in either order.

    "the heart is mildly enlarged", "enlarged cardiac silhouette": head *heart*, modifier *enlarged*. At most ``within``
    tokens may lie between the two parts. The finding's span covers both.
    """

    head: tuple[Phrase, ...]
    modifier: tuple[Phrase, ...]
    within: int = 5


class FindingEntry(_Strict):
    """One concept. ``parents`` are ids of more general concepts (the hierarchy has several roots and no cycle).

    ``synonyms`` are the phrases that name the concept wherever they stand; ``abbreviations`` are matched in their
    exact case (``PTX``, ``CHF``), so that short words do not collide with ordinary ones; ``combinations`` name it in
    two parts. ``normal`` are phrases that deny the concept by themselves ("heart size is normal" for cardiomegaly),
    for cases that ``AnatomyEntry.normal_denies`` does not cover. ``refine`` maps an anatomy id to the concept that is
    meant when the mention lies there: *mass* in the breast is a breast mass, *effusion* in the pericardium a
    pericardial effusion. ``anatomy`` is the organ a mention lies in when the text names none. ``is_paired`` says that
    the plural without a side means both ("pleural effusions"). ``cui`` only as PadChest's table gives it.
    """

    id: Id
    name: str
    kind: FindingKind = FindingKind.PATHOLOGY
    parents: tuple[Id, ...] = ()
    cui: Cui | None = None
    anatomy: Id | None = None
    synonyms: tuple[Phrase, ...] = ()
    abbreviations: tuple[str, ...] = ()
    combinations: tuple[Combination, ...] = ()
    normal: tuple[Phrase, ...] = ()
    refine: dict[Id, Id] = {}
    is_paired: bool = False
    definition: str | None = None


class AnatomyEntry(_Strict):
    """A place: organ, lobe, zone, bone. ``parents`` lead to the organ and the body region.

    ``laterality`` is set where the name itself has a side (right middle lobe, lingula). ``organ`` marks entries that
    become `Finding.anatomy`; the others become `Finding.location`. ``normal_denies`` lists the concepts that a
    statement of normality about this place denies: "the lungs are clear" denies lung opacity. ``chest`` says whether
    the place belongs to a chest study; null where it says nothing of the study (bone, soft tissue). ``intact_denies``
    are denied by the word *intact* alone ("the bones are intact" denies a fracture). ``is_paired`` says that the
    plural without a side means both sides ("the lung bases"), ``is_sideless`` that a side in the name is none of the
    patient's ("right atrium").
    """

    id: Id
    name: str
    parents: tuple[Id, ...] = ()
    synonyms: tuple[Phrase, ...] = ()
    abbreviations: tuple[str, ...] = ()
    laterality: str | None = None
    organ: bool = False
    chest: bool | None = True
    normal_denies: tuple[Id, ...] = ()
    intact_denies: tuple[Id, ...] = ()
    is_paired: bool = False
    is_sideless: bool = False


class AttributeValue(_Strict):
    """One value of an attribute (``mild`` of severity) and the phrases that say it."""

    id: Id
    phrases: tuple[Phrase, ...]
    abbreviations: tuple[str, ...] = ()


class Attributes(_Strict):
    """The closed sets of attribute values."""

    laterality: tuple[AttributeValue, ...] = ()
    severity: tuple[AttributeValue, ...] = ()
    temporality: tuple[AttributeValue, ...] = ()


class LabelRule(StrEnum):
    """Labels that are derived rather than read."""

    NO_FINDING = "no_finding"


class LabelEntry(_Strict):
    """One label: positive, negative or uncertain as its ``concepts`` and their descendants are.

    ``exclude`` takes descendants out again. ``rule`` names a derived label instead. ``mesh`` lists the MeSH headings
    (first part of a code, as in Open-i) that assign the label, for label sets that are measured against codes.
    """

    name: str
    concepts: tuple[Id, ...] = ()
    exclude: tuple[Id, ...] = ()
    rule: LabelRule | None = None
    mesh: tuple[str, ...] = ()
    definition: str | None = None


class Readout(StrEnum):
    """How mentions become a study's value (docs/label-semantics.md, "Two read-outs")."""

    LITERAL = "literal"  # four values, as the text says
    CODED = "coded"  # positive or null, as human coders code: bare alternatives count, modal hedges do not


class LabelSet(_Strict):
    """A named list of labels over the finding vocabulary.

    A set with ``region: chest`` is about the chest: in a study of another part only findings count that are said to lie
    in the chest (the pleural effusion at the lung bases of an abdominal CT).
    """

    id: Id
    name: str
    readout: Readout = Readout.LITERAL
    source: str | None = None
    region: Literal["chest"] | None = None
    labels: tuple[LabelEntry, ...]


class VocabularyFile(_Strict):
    """One YAML file of a vocabulary."""

    findings: tuple[FindingEntry, ...] = ()
    anatomy: tuple[AnatomyEntry, ...] = ()
    attributes: Attributes = Attributes()
    label_sets: tuple[LabelSet, ...] = ()
