"""What can go wrong with de-identification, as a branch of the tree in `corpora.errors`.

RadlabelError
+-- KeyInvalid                a key is missing, too short or unreadable                    (also ValueError)
+-- PseudonymMapInvalid       a map file is none, or was made with another key             (also ValueError)
+-- NotDeidentifiable         an object's content is text, so its header cannot be enough  (also ValueError)
+-- ColumnNotClassified       a table has a column nobody has said how to treat            (also ValueError)
+-- DicomAnonymizerMissing    the package with the table of PS3.15 is not installed        (also ImportError)

No message holds an identifier, of the original or a pseudonym.
"""

from __future__ import annotations

from corpora.errors import RadlabelError


class KeyInvalid(RadlabelError, ValueError):
    """The key is missing, too short or unreadable."""


class PseudonymMapInvalid(RadlabelError, ValueError):
    """A map file is none, breaks a rule, or was made with another key; the message names file and row."""


class NotDeidentifiable(RadlabelError, ValueError):
    """The object is no image: its content is text or a document, and clearing its header would not be enough."""


class ColumnNotClassified(RadlabelError, ValueError):
    """A table has columns of which nobody has said how to treat them; the message lists them."""


class DicomAnonymizerMissing(RadlabelError, ImportError):
    """The package that holds the table of DICOM PS3.15 Annex E is not installed."""
