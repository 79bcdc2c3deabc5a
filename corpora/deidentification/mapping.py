"""The map from identifiers to pseudonyms as a CSV: for a site's own way back, and for pseudonyms given elsewhere.

Columns ``kind``, ``original``, ``pseudonym``; the first line is a comment with the key's id. The file undoes the
de-identification: it is written for its owner's eyes alone and never goes with a data set.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path

from corpora.deidentification.errors import PseudonymMapInvalid
from corpora.deidentification.pseudonyms import IdentifierKind, Pseudonymiser

_HEADER = ["kind", "original", "pseudonym"]
_MARK = "# radlabel pseudonym map, key "


class PseudonymMap:
    """Originals and their pseudonyms, by kind; give `record` to a `Pseudonymiser` as its recorder."""

    def __init__(self) -> None:
        self._entries: dict[tuple[IdentifierKind, str], str] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"PseudonymMap(<{len(self)} entries>)"

    def record(self, kind: IdentifierKind, original: str, pseudonym: str) -> None:
        """Remember a pair."""
        self._entries[kind, original] = pseudonym

    def entries(self) -> Mapping[tuple[IdentifierKind, str], str]:
        """Return kind and original to pseudonym."""
        return dict(self._entries)

    def originals(self) -> Mapping[tuple[IdentifierKind, str], str]:
        """Return kind and pseudonym to original: the way back."""
        return {(kind, pseudonym): original for (kind, original), pseudonym in self._entries.items()}

    def write(self, path: Path, pseudonymiser: Pseudonymiser) -> None:
        """Write the map, sorted, readable for its owner alone; a file that is there is replaced whole or not at all."""
        neighbour = path.with_name(f"{path.name}.partial")
        neighbour.unlink(missing_ok=True)
        descriptor = os.open(neighbour, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
            stream.write(f"{_MARK}{pseudonymiser.key_id}\n")
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(_HEADER)
            writer.writerows([kind.value, original, made] for (kind, original), made in sorted(self._entries.items()))
        neighbour.replace(path)

    @classmethod
    def read(cls, path: Path, pseudonymiser: Pseudonymiser) -> PseudonymMap:
        """Return the map in a file, each pair checked against the key.

        Raises
        ------
        PseudonymMapInvalid
            The file is no map, was made with another key, or holds a pair that the key does not give.
        """
        found = cls()
        try:
            with path.open(encoding="utf-8", newline="") as stream:
                if stream.readline().rstrip("\n") != f"{_MARK}{pseudonymiser.key_id}":
                    raise PseudonymMapInvalid(f"{path.name}: no pseudonym map of this key")
                rows = csv.reader(stream)
                if next(rows, None) != _HEADER:
                    raise PseudonymMapInvalid(f"{path.name}: the columns must be {', '.join(_HEADER)}")
                for number, row in enumerate(rows, start=1):
                    found._add(row, f"{path.name}, row {number}", pseudonymiser)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise PseudonymMapInvalid(f"{path.name}: cannot be read ({type(error).__name__})") from None
        return found

    def _add(self, row: list[str], where: str, pseudonymiser: Pseudonymiser) -> None:
        if len(row) != len(_HEADER):
            raise PseudonymMapInvalid(f"{where}: {len(row)} fields, expected {len(_HEADER)}")
        name, original, made = row
        try:
            kind = IdentifierKind(name)
        except ValueError:
            raise PseudonymMapInvalid(f"{where}: the kind is none of {', '.join(IdentifierKind)}") from None
        if pseudonymiser.pseudonym(kind, original) != made:
            raise PseudonymMapInvalid(f"{where}: the pseudonym does not belong to the original under this key")
        self.record(kind, original, made)
