"""Everything that can be wrong with data, as one tree.

    RadlabelError
    +-- SourceUnreadable      a file or folder cannot be opened or parsed at all      (also OSError)
    +-- RowInvalid            one row, line or file of a source cannot become a report (also ValueError)
    +-- ColumnMissing         a table lacks a column that was asked for                (also ValueError)
    +-- VocabularyInvalid     a vocabulary or label set file breaks a rule             (also ValueError)
    +-- LabelSetUnknown       a label set nobody defined was asked for                 (also LookupError)
    +-- CorpusUnavailable     a public corpus is not in the cache and cannot be had    (also OSError)

A message says where (file, row, field), what was expected, what kind of thing came, and what to do next.
It never quotes a report's text, a name or an identifier.
"""

from __future__ import annotations


class RadlabelError(Exception):
    """The root of every error that radlabel raises on purpose."""


class SourceUnreadable(RadlabelError, OSError):
    """A source cannot be opened or parsed at all: nothing of it can be used."""


class RowInvalid(RadlabelError, ValueError):
    """One row of a source cannot become a report; the rows around it are unaffected.

    ``source`` is the file's name, ``row`` its 1-based record number (headers do not count), ``field`` the column at
    fault if there is one, and ``reason`` a sentence without any content of the row.
    """

    def __init__(self, *, source: str, row: int, reason: str, field: str | None = None) -> None:
        self.source = source
        self.row = row
        self.field = field
        self.reason = reason
        where = f"{source}, row {row}" + (f", field {field!r}" if field else "")
        super().__init__(f"{where}: {reason}")

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only constructors do not survive pickling by default, and rows cross process borders.
        return (_row_invalid, (self.source, self.row, self.reason, self.field))


def _row_invalid(source: str, row: int, reason: str, field: str | None) -> RowInvalid:
    return RowInvalid(source=source, row=row, reason=reason, field=field)


class ColumnMissing(RadlabelError, ValueError):
    """A table lacks a column that was asked for; the message lists the columns it has."""


class VocabularyInvalid(RadlabelError, ValueError):
    """A vocabulary or label set file breaks a rule; the message names file and entry."""


class LabelSetUnknown(RadlabelError, LookupError):
    """A label set that nobody defined was asked for; the message lists those that are."""


class CorpusUnavailable(RadlabelError, OSError):
    """A public corpus is not in the cache and cannot be fetched; the message says which file to bring."""
