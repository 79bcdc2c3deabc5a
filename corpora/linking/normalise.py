"""The form in which identifiers are compared: stated, total and never a pattern.

DICOM stores accession numbers as SH and patient ids as LO (PS3.5 6.2): leading and trailing spaces carry no meaning
there. Everything else done here is a decision, with its reason beside it; `docs/linking.md` has the table. What is left
alone: punctuation, and the ASCII look-alikes O and 0, I, l and 1, which real numbering schemes tell apart.
"""

from __future__ import annotations

import unicodedata

# Letters of other alphabets whose capital cannot be told from a Latin one on a screen: keyboards left in another
# layout, and text recognition, put them into numbers. Small letters follow their capitals, since case does not count.
_LOOK_ALIKE_LETTERS = {
    # Cyrillic
    **dict(zip("АВЕЅІЈКМНОРСТУХԚԜ", "abesijkmhopctyxqw", strict=True)),
    # Greek
    **dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "abezhikmnoptyx", strict=True)),  # noqa: RUF001
}
# Hyphens, dashes and the minus sign are one key to whoever types them (Unicode category Pd, and the minus sign).
_DASHES = "‐‑‒–—―⁃−﹘﹣－"  # noqa: RUF001
_LOOK_ALIKES = str.maketrans(
    {**{capital.casefold(): latin for capital, latin in _LOOK_ALIKE_LETTERS.items()}, **dict.fromkeys(_DASHES, "-")}
)

# Words that stand for nothing known. As identifiers they would be shared by whoever has none.
_PLACEHOLDERS = frozenset(
    "none null nil nan n/a na n.a. #n/a unknown unk unspecified missing notavailable notknown noaccession "
    "anonymous anonymized anonymised anon undefined tbd".split()
)


def normalise_identifier(text: str | None, *, ignore_leading_zeros: bool = False) -> str | None:
    r"""Return the form under which an accession number, a patient id or an issuer is compared, or ``None`` for nothing.

    In this order: Unicode NFKC; dashes, and letters and decimal digits of other scripts that look like or mean a Latin
    one, become that one; white space, control and invisible characters are taken out, inner ones too; case is folded;
    with ``ignore_leading_zeros``, zeros at the start go as long as something is left. A text without any letter or
    digit, zeros alone, and words such as "unknown" are nothing.

    >>> normalise_identifier(" ab 12-3 "), normalise_identifier("\uff10\uff11"), normalise_identifier("N/A")
    ('ab12-3', '01', None)
    >>> normalise_identifier("0012", ignore_leading_zeros=True), normalise_identifier("12*")
    ('12', '12*')
    """
    if text is None:
        return None
    if text.isascii() and text.isalnum():
        folded = text.lower()
    else:
        folded = _fold(text)
    # Zeros alone are what systems write that must write something.
    stripped = folded.lstrip("0")
    if not stripped or folded in _PLACEHOLDERS or not any(map(str.isalnum, stripped)):
        return None
    return stripped if ignore_leading_zeros else folded


def normalise_uid(text: str | None) -> str | None:
    """Return a UID without padding (PS3.5 9.1: a trailing NUL; spaces are common), or ``None`` if nothing is left.

    UIDs are made by machines and compared as they are.

    >>> normalise_uid("1.2.840.1\\0"), normalise_uid("  ")
    ('1.2.840.1', None)
    """
    return (text.strip(" \t\r\n\0") or None) if text is not None else None


def _fold(text: str) -> str:
    if not text.isascii():
        for _ in range(2):  # folding may take a composed character apart, and what comes together again folds anew
            text = unicodedata.normalize("NFKC", text).casefold()
        text = unicodedata.normalize("NFKC", text).translate(_LOOK_ALIKES)
        text = "".join(_plain(character) for character in text)
    else:
        text = text.lower()
    return "".join(character for character in text if not character.isspace() and character.isprintable())


def _plain(character: str) -> str:
    """Return the ASCII digit for a decimal digit of any script, nothing for an invisible character."""
    if character.isascii():
        return character
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.decimal(character))
    return "" if category in ("Cf", "Cc", "Zs", "Zl", "Zp") else character
