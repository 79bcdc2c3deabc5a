"""A data set in the forms that others read. Each module writes one; `FORMATS` says what each is called."""

from __future__ import annotations

from corpora.dataset.export.run import FORMATS, ExportSummary, export_dataset

__all__ = ["FORMATS", "ExportSummary", "export_dataset"]
