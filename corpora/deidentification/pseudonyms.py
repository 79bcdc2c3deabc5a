"""Pseudonyms that follow from a secret key: the same person, study or UID gets the same one everywhere and every time.

A pseudonym is HMAC-SHA-256 (RFC 2104) of what it stands for, with the kind of identifier in front: without the key it
can be neither undone nor guessed by trying numbers, with the key it can be made again. Keep the key as you keep the
identifiers themselves.
"""

from __future__ import annotations

import datetime as dt
import hmac
from base64 import b32encode
from collections.abc import Callable
from enum import StrEnum
from hashlib import blake2b, sha256
from pathlib import Path

from corpora.deidentification.errors import KeyInvalid

_KEY_BYTES = 16
#: A shift goes back by 1 to this many days: intervals stay, seasons do not.
MAX_SHIFT_DAYS = 3650
#: UIDs under this root are the standard's own (SOP classes, transfer syntaxes): they name nobody (PS3.5 section 9).
STANDARD_ROOT = "1.2.840.10008."


class IdentifierKind(StrEnum):
    """What a pseudonym stands for. Two kinds never share a pseudonym, even for the same text."""

    PATIENT_ID = "patient_id"
    ACCESSION_NUMBER = "accession_number"
    REPORT_ID = "report_id"
    IMAGE_ID = "image_id"
    STUDY_ID = "study_id"
    OTHER = "other"
    UID = "uid"


_PREFIX = {
    IdentifierKind.PATIENT_ID: "P",
    IdentifierKind.ACCESSION_NUMBER: "A",
    IdentifierKind.REPORT_ID: "R",
    IdentifierKind.IMAGE_ID: "I",
    IdentifierKind.STUDY_ID: "S",
    IdentifierKind.OTHER: "X",
}

Recorder = Callable[[IdentifierKind, str, str], None]


class Pseudonymiser:
    """Makes pseudonyms and date shifts with one key. Nothing is remembered: it can be shared, pickled and run anywhere.

    ``recorder``, where given, is told each original and its pseudonym, for a map (`corpora.deidentification.mapping`).
    """

    def __init__(self, key: bytes, *, recorder: Recorder | None = None) -> None:
        if len(key) < _KEY_BYTES:
            raise KeyInvalid(f"a key needs at least {_KEY_BYTES} bytes, this one has {len(key)}")
        self._key = key
        self._recorder = recorder

    def __repr__(self) -> str:
        return "Pseudonymiser(<key>)"

    @classmethod
    def from_file(cls, path: Path, *, recorder: Recorder | None = None) -> Pseudonymiser:
        """Return a pseudonymiser with the key in a file: its bytes without white space at the end.

        Raises
        ------
        KeyInvalid
            The file cannot be read or holds fewer than 16 bytes.
        """
        try:
            return cls(path.read_bytes().rstrip(), recorder=recorder)
        except OSError as error:
            raise KeyInvalid(f"{path.name}: cannot be read ({error.strerror or type(error).__name__})") from None

    def recorded(self, recorder: Recorder | None) -> Pseudonymiser:
        """Return a pseudonymiser with the same key that tells ``recorder`` what it makes, or nobody."""
        return Pseudonymiser(self._key, recorder=recorder)

    @property
    def key_id(self) -> str:
        """Return 12 characters that tell keys apart and say nothing of them: they go into maps and data cards."""
        return blake2b(self._key[:64], digest_size=6, person=b"key-id").hexdigest()

    def pseudonym(self, kind: IdentifierKind, value: str) -> str:
        """Return the pseudonym of an identifier: 16 characters, valid wherever DICOM takes SH, LO or CS.

        Spaces around it do not count: they are padding in DICOM (PS3.5 section 6.2). A UID gets a UID.

        >>> maker = Pseudonymiser(b"sixteen bytes or")
        >>> maker.pseudonym(IdentifierKind.PATIENT_ID, "4711 ") == maker.pseudonym(IdentifierKind.PATIENT_ID, "4711")
        True
        """
        if kind is IdentifierKind.UID:
            return self.uid(value)
        original = value.strip(" \0")
        made = _PREFIX[kind] + b32encode(self._digest(kind, original)[:10]).decode()[:15]
        if self._recorder is not None:
            self._recorder(kind, original, made)
        return made

    def uid(self, value: str) -> str:
        """Return the UID that takes the place of another: 2.25 and a UUID (PS3.5 B.2); the standard's own stay."""
        original = value.strip(" \0")
        if not original or original.startswith(STANDARD_ROOT):
            return original
        raw = bytearray(self._digest(IdentifierKind.UID, original)[:16])
        raw[6], raw[8] = raw[6] & 0x0F | 0x80, raw[8] & 0x3F | 0x80  # version 8, variant 1 (RFC 9562 section 5.8)
        made = f"2.25.{int.from_bytes(raw)}"
        if self._recorder is not None:
            self._recorder(IdentifierKind.UID, original, made)
        return made

    def shift_days(self, patient_id: str) -> int:
        """Return by how many days the dates of a patient move: -3650 to -1."""
        number = int.from_bytes(self._digest("date-shift", patient_id.strip(" \0"))[:8])
        return -1 - number % MAX_SHIFT_DAYS

    def shift_date(self, patient_id: str, date: dt.date) -> dt.date:
        """Return a date moved by the patient's shift; one that would fall before year 1 becomes the first of it."""
        try:
            return date + dt.timedelta(days=self.shift_days(patient_id))
        except OverflowError:
            return dt.date.min

    def _digest(self, kind: str, value: str) -> bytes:
        return hmac.new(self._key, f"{kind}\0{value}".encode("utf-8", "surrogatepass"), sha256).digest()
