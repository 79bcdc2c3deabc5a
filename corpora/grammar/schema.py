"""The form of the grammar's YAML files. Unknown keys are refused, so that a misspelt key cannot weaken a family."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, model_validator

from corpora.findings import Assertion, Hedge
from corpora.grammar.template import Template

Id = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Says(StrEnum):
    """What a family's sentence says of one of its findings."""

    POSITIVE = "positive"
    NEGATIVE = "negative"
    MODAL = "modal"
    PROBABLE = "probable"
    BORDERLINE = "borderline"
    ALTERNATIVE = "alternative"
    INHERENT = "inherent"  # positive, unless the phrase itself hedges ("borderline heart size")
    UNSAID = "unsaid"  # named without being observed: a condition, an advice, a history

    @property
    def assertion(self) -> Assertion | None:
        """Return the assertion, or ``None`` where nothing is observed."""
        return _ASSERTIONS[self][0]

    @property
    def hedge(self) -> Hedge | None:
        """Return why the finding is uncertain, if it is."""
        return _ASSERTIONS[self][1]


_ASSERTIONS: dict[Says, tuple[Assertion | None, Hedge | None]] = {
    Says.POSITIVE: (Assertion.POSITIVE, None),
    Says.NEGATIVE: (Assertion.NEGATIVE, None),
    Says.MODAL: (Assertion.UNCERTAIN, Hedge.MODAL),
    Says.PROBABLE: (Assertion.UNCERTAIN, Hedge.PROBABLE),
    Says.BORDERLINE: (Assertion.UNCERTAIN, Hedge.BORDERLINE),
    Says.ALTERNATIVE: (Assertion.UNCERTAIN, Hedge.ALTERNATIVE),
    Says.INHERENT: (Assertion.POSITIVE, None),
    Says.UNSAID: (None, None),
}


class SlotLabel(_Strict):
    """What is said of one numbered finding of a family, and what may fill it.

    ``pool`` names the group of concepts to draw from (`corpora.grammar.pools`; ``any`` is all), ``concepts`` lists them
    instead.
    ``temporality`` and ``severity`` are set where the template's own words say them ("again seen"). ``shares`` is the
    number of the finding whose side and place hold for this one too (a list); ``follows`` the same for findings of
    lung and pleura only (an explanation lies where the sign lies).
    """

    says: Says
    pool: Id = "pathology"
    concepts: tuple[Id, ...] = ()
    temporality: Id | None = None
    severity: Id | None = None
    shares: int | None = None
    follows: int | None = None


class Family(_Strict):
    """One way of saying something: templates that differ in little, and what they say of their findings.

    ``heading`` is a template for the sub-heading. ``weight`` is relative to the other families.
    """

    id: Id
    templates: tuple[str, ...]
    findings: dict[int, SlotLabel] = {}
    heading: str = ""
    weight: float = 1.0

    @model_validator(mode="before")
    @classmethod
    def _long_labels(cls, raw: object) -> object:
        """Accept ``1: negative`` for ``1: {says: negative}``."""
        if isinstance(raw, dict) and isinstance(raw.get("findings"), dict):
            labels = {n: {"says": v} if isinstance(v, str) else v for n, v in raw["findings"].items()}
            return {**raw, "findings": labels}
        return raw

    @model_validator(mode="after")
    def _slots_are_labelled(self) -> Family:
        for text in self.templates:
            numbers = Template.parse(text).numbers
            if numbers != set(self.findings):
                raise ValueError(f"template {text!r} has the findings {sorted(numbers)}, not {sorted(self.findings)}")
        return self


class FamilyFile(_Strict):
    """The families of one phenomenon."""

    category: Id
    families: tuple[Family, ...]


class PlaceWords(_Strict):
    """How places are spoken of, by anatomy id. ``sided`` places can be left or right, findings that
    are ``unsided`` cannot; of ``twos`` there are two.

    ``also`` adds places at which findings of an organ can lie besides those within it; ``unused`` are ids and
    ``not_said`` synonyms that no sentence puts a finding in. ``tips`` are where devices end.
    """

    at: tuple[Id, ...]
    sided: tuple[Id, ...]
    unsided: tuple[Id, ...]
    twos: tuple[Id, ...]
    also: dict[Id, tuple[Id, ...]] = {}
    unused: tuple[Id, ...] = ()
    not_said: tuple[str, ...] = ()
    adjective_endings: tuple[str, ...]
    nouns: tuple[str, ...] = ()
    headings: dict[Id, tuple[str, ...]]
    tips: tuple[Tip, ...]
    normal: tuple[NormalPlace, ...]


class Tip(_Strict):
    """Where devices end: the words, the place they name, and the concepts that can end there."""

    say: str
    place: Id
    concepts: tuple[Id, ...]


class NormalPlace(_Strict):
    """A place that a sentence calls normal, as subject ("the lungs are") and before its adjective ("clear lungs")."""

    place: Id
    say: tuple[str, ...]
    cues: tuple[str, ...]
    is_plural: bool = False
    sided: tuple[str, ...] = ()  # singulars that can be left or right


class AttributeWords(_Strict):
    """How the phrases of severity and temporality are built into sentences. All must be phrases of the vocabulary."""

    sizes: tuple[str, ...]  # of things that can be counted: "small effusion"
    degrees: tuple[str, ...]  # of what has a degree: "mild edema"
    adverbs: tuple[str, ...]  # "mildly enlarged"
    changes: tuple[str, ...]  # before the finding: "new opacity"
    predicates: tuple[str, ...]  # behind it: "is unchanged"


class Words(_Strict):
    """English as far as the grammar needs it.

    ``mass`` heads take no article and no plural, ``mass_endings`` tell them from their endings, ``countable`` are
    exceptions. ``adjectives`` are last words of phrases that are no noun. ``plural`` phrases are plural as they stand.
    ``fragments`` and ``clauses`` are phrases that need or are a sentence of their own. ``names`` hold words that look
    like a degree or a change and are none. ``harmless`` words carry no finding: a gap of de-identification may stand
    for them.
    """

    mass: tuple[str, ...]
    mass_endings: tuple[str, ...]
    countable: tuple[str, ...]
    adjectives: tuple[str, ...]
    plural: tuple[str, ...]
    fragments: tuple[str, ...]
    clauses: tuple[str, ...]
    names: tuple[str, ...]
    upper: tuple[str, ...]
    proper: tuple[str, ...]
    plurals: dict[str, str]
    plural_heads: tuple[str, ...]
    head_adjectives: tuple[str, ...]
    unsaid_modifiers: tuple[str, ...]
    measurable: tuple[str, ...]
    harmless: tuple[str, ...]
    british: dict[str, str]
    lists: dict[Id, tuple[str, ...]]
    pools: dict[Id, tuple[Id, ...]] = {}


PlaceWords.model_rebuild()
