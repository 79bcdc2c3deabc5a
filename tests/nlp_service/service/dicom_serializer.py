"""Tells schemathesis how a body of DICOM is sent: as the bytes it made up."""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.serializer("application/dicom")
def as_bytes(_context: object, value: Any) -> bytes:
    """Return the body as it is."""
    if isinstance(value, bytes):
        return value
    to_bytes = getattr(value, "data", value)
    return to_bytes if isinstance(to_bytes, bytes) else str(value).encode("utf-8", "replace")
