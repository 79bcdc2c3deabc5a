import random

import pytest

from corpora.grammar.english import English, WordClass
from corpora.grammar.load import load_data
from corpora.grammar.schema import Family
from corpora.grammar.template import Slot, Template, phrases_of


def test_a_template_is_opened_out_to_one_of_its_readings() -> None:
    template = Template.parse("No (acute|new) {finding1}[ {loc1:one}].")
    rng = random.Random(1)
    readings = {
        "".join(part if isinstance(part, str) else f"<{part.name}>" for part in template.open_out(rng))
        for _ in range(100)
    }
    assert readings == {
        "No acute <finding>.",
        "No new <finding>.",
        "No acute <finding> <loc>.",
        "No new <finding> <loc>.",
    }


def test_a_slot_has_a_number_and_an_argument() -> None:
    assert Template.parse("{changed2:stable,new}").parts == (Slot("changed", 2, "stable,new"),)


def test_a_backslash_makes_a_bracket_a_plain_one() -> None:
    assert Template.parse(r"\({size1}\)").parts == ("(", Slot("size", 1), ")")


@pytest.mark.parametrize("text", ["No (a|b", "[x", "{finding1", "{Finding1}", "a)"])
def test_a_broken_template_is_refused(text: str) -> None:
    if text == "a)":  # a closing bracket alone is text, as in "1)"
        assert Template.parse(text).parts == ("a)",)
        return
    with pytest.raises(ValueError, match="template"):
        Template.parse(text)


def test_patterns_of_the_vocabulary_are_listed() -> None:
    assert phrases_of("pleural (or|and) pericardial effusion") == [
        "pleural or pericardial effusion",
        "pleural and pericardial effusion",
    ]


def test_a_family_labels_exactly_the_findings_of_its_templates() -> None:
    with pytest.raises(ValueError, match="has the findings"):
        Family.model_validate({"id": "x", "templates": ["No {finding1}."], "findings": {1: "negative", 2: "negative"}})


def test_an_unknown_key_of_a_family_is_refused() -> None:
    with pytest.raises(ValueError, match="Extra inputs"):
        Family.model_validate({"id": "x", "templates": ["No."], "finding": {}})


@pytest.mark.parametrize(
    ("phrase", "word_class", "plural"),
    [
        ("pleural effusion", WordClass.COUNT, "pleural effusions"),
        ("fracture of the rib", WordClass.COUNT, "fractures of the rib"),
        ("opacity", WordClass.COUNT, "opacities"),
        ("pneumothorax", WordClass.COUNT, "pneumothoraces"),
        ("mass", WordClass.COUNT, "masses"),
        ("pulmonary edema", WordClass.MASS, ""),
        ("loss of height", WordClass.MASS, ""),
        ("hyperinflated", WordClass.ADJECTIVE, ""),
        ("study is limited", WordClass.CLAUSE, ""),
        ("staples", WordClass.PLURAL, ""),
    ],
)
def test_number_of_phrases(phrase: str, word_class: WordClass, plural: str) -> None:
    english = English(load_data().words)
    assert english.classify(phrase) is word_class
    if plural:
        assert english.pluralize(phrase) == plural


def test_names_and_abbreviations_get_their_capitals() -> None:
    english = English(load_data().words)
    assert [english.spell(p) for p in ("ng tube", "kerley b line", "baker's cyst", "ivc filter")] == [
        "NG tube",
        "Kerley b line",
        "Baker's cyst",
        "IVC filter",
    ]
