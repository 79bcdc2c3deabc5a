"""The packaged vocabulary holds what it promises, and every broken rule of a user's file is named."""

from pathlib import Path

import pytest

from corpora.errors import LabelSetUnknown, VocabularyInvalid
from corpora.reports import Report
from corpora.vocabulary import Vocabulary, load_vocabulary
from corpora.vocabulary.schema import FindingKind
from corpora.vocabulary.words import fold_words

CHEST_FILES = ("lung", "pleura", "heart", "mediastin", "device", "bone", "procedure")


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return load_vocabulary()


def test_there_are_150_findings_and_devices_of_the_chest(vocabulary: Vocabulary) -> None:
    chest = [
        entry
        for entry in vocabulary.findings.values()
        if entry.kind is FindingKind.DEVICE
        or (entry.anatomy is not None and vocabulary.anatomy[entry.anatomy].chest is not False)
    ]
    assert len(chest) >= 250
    assert len(vocabulary.findings) >= 380


def test_concepts_of_other_studies_are_there(vocabulary: Vocabulary) -> None:
    assert {"cholelithiasis", "hydronephrosis", "cerebral_infarct", "meniscal_tear", "thyroid_nodule"} <= set(
        vocabulary.findings
    )


def test_every_concept_can_be_said_or_has_children(vocabulary: Vocabulary) -> None:
    for entry in vocabulary.findings.values():
        assert entry.synonyms or entry.abbreviations or entry.combinations or len(vocabulary.descendants(entry.id)) > 1


def test_chexpert14_labels_do_not_leak_into_one_another(vocabulary: Vocabulary) -> None:
    """Parents are not propagated: a consolidation is no Lung Opacity, a mass no Lung Opacity, and so on."""
    label_set = vocabulary.label_set("chexpert14")
    covered = {
        label.name: {c for concept in label.concepts for c in vocabulary.descendants(concept)}
        for label in label_set.labels
    }
    shared = {(a, b): covered[a] & covered[b] for a in covered for b in covered if a < b and covered[a] & covered[b]}
    assert shared == {("Pleural Effusion", "Pneumothorax"): {"hydropneumothorax"}}


def test_chexpert14_has_the_names_of_the_paper_in_its_order(vocabulary: Vocabulary) -> None:
    assert [label.name for label in vocabulary.label_set("chexpert14").labels] == [
        "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema",
        "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture",
        "Support Devices",
    ]  # fmt: skip


def test_ancestors_and_descendants_agree(vocabulary: Vocabulary) -> None:
    for concept in vocabulary.findings:
        assert all(concept in vocabulary.descendants(ancestor) for ancestor in vocabulary.ancestors(concept))


def test_unknown_label_set_is_named_with_those_that_are(vocabulary: Vocabulary) -> None:
    with pytest.raises(LabelSetUnknown, match="'chexpert15' is not defined; defined are chexpert14, nih14, openi"):
        vocabulary.label_set("chexpert15")


def write(folder: Path, text: str) -> tuple[Path, ...]:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return (path,)


def test_a_user_adds_a_finding_and_a_label_set(tmp_path: Path) -> None:
    from nlp_service.labeler import Labeler

    files = write(
        tmp_path,
        """
findings:
  - {id: dorsal_wombat, name: Dorsal wombat, parents: [lung_finding], anatomy: lung, synonyms: [dorsal wombat]}
label_sets:
  - id: mine
    name: Mine
    labels: [{name: Wombat, concepts: [dorsal_wombat]}, {name: Effusion, concepts: [pleural_effusion]}]
""",
    )
    labeled = Labeler(label_sets=["mine"], vocabulary=files).label(Report("r", "Dorsal wombats. No effusion."))
    values = {name: label.value for name, label in labeled.labels["mine"].items()}
    assert values == {"Wombat": "positive", "Effusion": "negative"}


def test_a_user_file_changes_the_digest(tmp_path: Path) -> None:
    files = write(tmp_path, "findings: [{id: dorsal_wombat, name: Wombat, synonyms: [dorsal wombat]}]")
    assert load_vocabulary(files).digest != load_vocabulary().digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("findings: [{id: x1, name: X, synonyms: [pleural effusions]}]",
         "finding 'x1': phrase 'pleural effusions' already names 'pleural_effusion' in findings/pleura.yaml"),
        ("findings: [{id: atelectasis, name: X, synonyms: [xyz]}]",
         "mine.yaml: finding 'atelectasis' is already defined in findings/lung.yaml"),
        ("findings: [{id: x1, name: X, synonyms: ['--']}]", "phrase '--' has no word in it"),
        ("findings: [{id: x1, name: X, parents: [nothing], synonyms: [xyz]}]", "parent 'nothing' is not defined"),
        ("findings: [{id: x1, name: X, anatomy: nowhere, synonyms: [xyz]}]", "anatomy 'nowhere' is not defined"),
        ("findings: [{id: x1, name: X, parents: [x2], synonyms: [xz]}, {id: x2, name: Y, parents: [x1]}]",
         "is its own ancestor"),
        ("findings: [{id: x1, name: X, colour: red}]", "mine.yaml: findings > 'x1' > colour: Extra inputs"),
        ("findings: [{id: X 1, name: X}]", "findings > 'X 1' > id: String should match"),
        ("findings: [{id: x1, name: X, cui: 123}]", "'x1' > cui"),
        ("finding: []", "mine.yaml: finding: Extra inputs"),
        ("label_sets: [{id: mine, name: M, labels: [{name: A, concepts: [nothing]}]}]",
         "label set 'mine', label 'A': concept 'nothing' is not defined"),
        ("label_sets: [{id: mine, name: M, labels: [{name: A}]}]", "label 'A' needs either concepts or a rule"),
        ("label_sets: [{id: mine, name: M, labels: []}]", "has no labels"),
        ("label_sets: [{id: mine, name: M, labels: [{name: A, concepts: [mass]}, {name: A, concepts: [mass]}]}]",
         "is not defined"),
        ("label_sets: [{id: mine, name: M, labels: [{name: A, concepts: [cyst]}, {name: A, concepts: [cyst]}]}]",
         "label 'A' is there twice"),
        ("label_sets: [{id: nih14, name: M, labels: [{name: A, concepts: [cyst]}]}]",
         "label set 'nih14' is already defined"),
        ("findings: [{id: x1", "mine.yaml, line 2: no valid YAML"),
        ("- a\n- b", "expected a mapping"),
        ("findings: [{id: x1, name: X, synonyms: ['no (a']}]", "a bracket is not closed"),
    ],
)  # fmt: skip
def test_a_broken_rule_is_named(tmp_path: Path, text: str, message: str) -> None:
    from models.text.teacher import RuleTeacher

    with pytest.raises(VocabularyInvalid) as raised:
        RuleTeacher(load_vocabulary(write(tmp_path, text)))
    assert message in str(raised.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(VocabularyInvalid, match=r"nowhere\.yaml: cannot be read"):
        load_vocabulary((tmp_path / "nowhere.yaml",))


def test_a_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("findings: [] # é".encode("latin-1"))
    with pytest.raises(VocabularyInvalid, match=r"latin.yaml: a vocabulary file must be UTF-8"):
        load_vocabulary((path,))


def test_an_empty_file_adds_nothing(tmp_path: Path) -> None:
    assert load_vocabulary(write(tmp_path, "")).findings == load_vocabulary().findings


def test_phrases_of_the_vocabulary_are_read_as_their_concepts(vocabulary: Vocabulary) -> None:
    """Every plain synonym, said alone, is found as its concept, or as one that the place in it refines it to."""
    from models.text.sentence_reader import Sentence, SentenceReader

    reader = SentenceReader(vocabulary)
    missed = []
    for entry in vocabulary.findings.values():
        allowed = {entry.id, *entry.refine.values(), *vocabulary.ancestors(entry.id), *vocabulary.descendants(entry.id)}
        for phrase in entry.synonyms:
            if {"(", "["} & set(phrase):
                continue
            found = {f.concept_id for f in reader.read(Sentence(f"Large {phrase}.")).findings}
            if not found & allowed:
                missed.append((entry.id, phrase))
    assert missed == []


def test_folding_makes_no_phrase_empty(vocabulary: Vocabulary) -> None:
    assert all(fold_words(phrase) for entry in vocabulary.findings.values() for phrase in entry.synonyms)
