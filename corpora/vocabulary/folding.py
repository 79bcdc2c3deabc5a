"""Words folded to one form: case, accents, plural and British spelling do not tell phrases apart."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_EXCEPTIONS = {
    "bullae": "bulla", "sequelae": "sequela", "pleurae": "pleura", "hila": "hilum", "apices": "apex", "apexes": "apex",
    "vertebrae": "vertebra", "granulomata": "granuloma", "bronchi": "bronchus", "foci": "focus",
    "diverticula": "diverticulum", "septa": "septum", "sulci": "sulcus", "thrombi": "thrombus", "emboli": "embolus",
    "calculi": "calculus", "pneumothoraces": "pneumothorax", "hemothoraces": "hemothorax",
    "hydropneumothoraces": "hydropneumothorax", "metastases": "metastasis", "opacities": "opacity",
    "axillae": "axilla", "scapulae": "scapula", "costae": "costa", "menisci": "meniscus", "nuclei": "nucleus",
    "aortae": "aorta", "lungs": "lung", "lymphomata": "lymphoma", "adenomata": "adenoma", "fibromata": "fibroma",
    "stomata": "stoma", "indices": "index", "cortices": "cortex", "matrices": "matrix", "ostia": "ostium",
    "atria": "atrium", "ganglia": "ganglion", "criteria": "criterion", "phenomena": "phenomenon",
    "biopsies": "biopsy", "prostheses": "prosthesis",
    "series": "series", "species": "species", "lens": "lens", "pons": "pons", "gas": "gas",
    "bias": "bias", "pancreas": "pancreas", "atlas": "atlas", "plus": "plus", "has": "has", "was": "was",
    "is": "is", "as": "as", "this": "this", "its": "its", "his": "his", "us": "us", "yes": "yes", "does": "does",
    "thus": "thus", "across": "across", "always": "always", "perhaps": "perhaps", "whereas": "whereas",
    "besides": "besides", "towards": "toward", "upwards": "upward", "vs": "vs", "ms": "ms", "grey": "gray",
    "litre": "liter", "metre": "meter", "centimetre": "centimeter", "millimetre": "millimeter", "fibre": "fiber",
    "calibre": "caliber", "centre": "center", "tumour": "tumor", "colour": "color", "favour": "favor",
    "favoured": "favored", "favours": "favor", "labour": "labor", "behaviour": "behavior",
    "neighbouring": "neighboring", "catheterisation": "catheterization", "leukaemia": "leukemia",
    "anaemia": "anemia", "ischaemia": "ischemia", "ischaemic": "ischemic", "caecum": "cecum", "caecal": "cecal",
    "foetus": "fetus", "foetal": "fetal", "orthopaedic": "orthopedic", "paediatric": "pediatric",
    "gynaecomastia": "gynecomastia", "caesarean": "cesarean", "aluminium": "aluminum", "artefact": "artifact",
    "artefacts": "artifact", "aeroplane": "airplane", "manoeuvre": "maneuver", "mould": "mold", "sulphur": "sulfur",
}  # fmt: skip
# Plurals in -ases and -oses that are no Latin ones (atelectases, diagnoses are).
_PLAIN_PLURALS = frozenset(
    "diseases increases decreases phases cases releases biases purposes doses noses loses closes".split()
)
_KEEP = re.compile(r"(ss|us|is|ous|ics|itis|[^aeiou]sis)$")
_BRITISH = (
    (re.compile(r"^oedema"), "edema"),
    (re.compile(r"oedema"), "edema"),
    (re.compile(r"oesoph"), "esoph"),
    (re.compile(r"haem"), "hem"),
    (re.compile(r"aemi"), "emi"),
    (re.compile(r"gynaec"), "gynec"),
    (re.compile(r"anaes"), "anes"),
    (re.compile(r"rrhoea"), "rrhea"),
    (re.compile(r"(?<=[a-z]{3})is(ed|ing|ation|e|es)$"), r"iz\1"),
)
_ISE_KEPT = re.compile(
    r"^(rais|advis|pros|prec|exerc|ris|aris|superv|rev|surpris|comprom|compris|prom|wis|nois|dis|likew|otherw|prais|cruis|bruis|devis|disgu)"
)


@lru_cache(maxsize=8192)
def fold_word(word: str) -> str:
    """Return a word in lower case, without accents, in the singular and in American spelling.

    >>> [fold_word(w) for w in ("Effusions", "opacities", "oedema", "atelectases", "pneumothorax", "masses")]
    ['effusion', 'opacity', 'edema', 'atelectasis', 'pneumothorax', 'mass']
    """
    word = word.casefold()
    if not word.isascii():
        word = "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c))
    for _ in range(3):
        folded = _fold_once(word)
        if folded == word:
            break
        word = folded
    return word


def _fold_once(word: str) -> str:
    if word in _EXCEPTIONS:
        return _EXCEPTIONS[word]
    for pattern, replacement in _BRITISH:
        if pattern.pattern.startswith("(?<=") and _ISE_KEPT.match(word):
            continue
        word = pattern.sub(replacement, word)
    if len(word) <= 3 or not word.endswith("s") or _KEEP.search(word):
        return word
    if word.endswith(("ases", "oses")) and len(word) > 6 and word not in _PLAIN_PLURALS:
        return word[:-2] + "is"
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes", "zzes")):
        return word[:-2]
    return word[:-1]
