"""What identifiers are called in a data set: by their pseudonyms, or as they are."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from corpora.dataset.columns import IMAGES, MASKS
from corpora.deidentification import IdentifierKind, Pseudonymiser, PseudonymMap
from corpora.weak_labels.duplicates import text_digest

_UID = re.compile(r"[0-9]+(\.[0-9]+){3,}")
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_MAX_AGE = 89.0


@dataclass(frozen=True, slots=True)
class Identity:
    """Names of a data set's rows. Without a pseudonymiser everything keeps its name. Can be sent to a process."""

    maker: Pseudonymiser | None = None
    text_key: bytes = b""

    @property
    def is_deidentified(self) -> bool:
        """Return whether names are pseudonyms."""
        return self.maker is not None

    def name(self, kind: IdentifierKind, value: str | None) -> str | None:
        """Return what an identifier is called, ``None`` for one that is absent or blank."""
        if value is None or not value.strip():
            return None
        return value if self.maker is None else self.maker.pseudonym(kind, value)

    def image(self, image_id: str) -> str:
        """Return what an image is called: a UID gets the UID that its header gets."""
        if self.maker is None:
            return image_id
        if _UID.fullmatch(image_id.strip()):
            return self.maker.uid(image_id)
        return self.maker.pseudonym(IdentifierKind.IMAGE_ID, image_id)

    def uid(self, value: str | None) -> str | None:
        """Return what a UID is called."""
        return self.name(IdentifierKind.UID, value)

    def date(self, patient_id: str | None, study: str | None, date: dt.date | None) -> dt.date | None:
        """Return a date, moved by the patient's days; as for headers by the study's where the patient is not known."""
        if self.maker is None or date is None:
            return date
        owner = (patient_id or "").strip() or study or ""
        return self.maker.shift_date(owner, date)

    def age(self, years: float | None) -> float | None:
        """Return an age, 90 for all over 89 where names are pseudonyms."""
        if years is None:
            return None
        # The index holds 32-bit numbers: 63.0, or 0.49 for half a year.
        rounded = round(float(years), 4)
        return 90.0 if self.is_deidentified and rounded > _MAX_AGE else rounded

    def text(self, text: str) -> str | None:
        """Return a keyed digest that reports of the same words share, ``None`` for a text without any."""
        digest = text_digest(text, key=self.text_key)
        if digest is None or self.maker is None:
            return None if digest is None else digest.hex()
        # A recorder, if there is one, would fill the map with digests: they are no identifiers.
        return self.without_recorder().pseudonym(IdentifierKind.OTHER, digest.hex())

    def without_recorder(self) -> Pseudonymiser:
        """Return the pseudonymiser without a map that listens."""
        assert self.maker is not None
        return self.maker.recorded(None)

    def recorded_by(self, pairs: PseudonymMap) -> Identity:
        """Return the same names, each of which is told to a map."""
        return self if self.maker is None else Identity(self.maker.recorded(pairs.record), self.text_key)


def file_of(name: str, folder: str = IMAGES) -> str:
    """Return where an image's picture or mask lies in the data set, with slashes."""
    digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    # A name may hold slashes, dots or characters that a file system does not take: it is in the row anyway.
    stem = name if _SAFE.fullmatch(name) else digest
    return f"{folder}/{digest[:2]}/{stem}.png"


def mask_of(name: str) -> str:
    """Return where an image's given mask lies in the data set."""
    return file_of(name, MASKS)


def key_in(path: Path) -> tuple[Pseudonymiser, bool]:
    """Return the pseudonymiser with the key in a file, made with a new key if there is none, and whether it was made.

    Raises
    ------
    KeyInvalid
        The file is there and holds no key.
    OSError
        It cannot be written.
    """
    import os
    import secrets

    if path.exists():
        return Pseudonymiser.from_file(path), False
    # Whole or not at all, and never over another's: two processes may get here at once.
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.partial")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(secrets.token_hex(32) + "\n")
    try:
        os.link(unfinished, path)
    except FileExistsError:
        return Pseudonymiser.from_file(path), False
    finally:
        unfinished.unlink()
    return Pseudonymiser.from_file(path), True


def check_known(identity: Identity, known: Path | None) -> None:
    """Raise `PseudonymMapInvalid` where a map that was made before does not agree with the key."""
    if known is not None and identity.maker is not None:
        PseudonymMap.read(known, identity.maker)


def named(identity: Identity, kind: IdentifierKind, values: Iterable[str]) -> set[str]:
    """Return what several identifiers are called."""
    return {found for value in values if (found := identity.name(kind, value)) is not None}
