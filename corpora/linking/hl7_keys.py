"""Reports of HL7 v2 files with how far they are: OBR-25 and ORC-1 say it, and `corpora.Report` has no place for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from types import MappingProxyType

from corpora.errors import RowInvalid
from corpora.linking.outcomes import ReportStatus
from corpora.reports import Report
from corpora.sources import hl7
from corpora.sources.encoding import readable
from corpora.sources.hl7_message import MessageInvalid, OruReport, ResultStatus
from corpora.sources.hl7_oru import parse_oru
from corpora.sources.records import ReadOptions
from corpora.sources.text_folder import iter_files

# Table 0123. Y and Z say that nobody knows the order or the patient: there is nothing to link.
_STATUS: Mapping[ResultStatus, ReportStatus] = MappingProxyType(
    {
        **dict.fromkeys(map(ResultStatus, "OISPR"), ReportStatus.PRELIMINARY),
        ResultStatus.FINAL: ReportStatus.FINAL,
        ResultStatus.CORRECTED: ReportStatus.CORRECTED,
        ResultStatus.PARTIAL: ReportStatus.ADDENDUM,
        **dict.fromkeys(map(ResultStatus, "XYZ"), ReportStatus.CANCELLED),
    }
)


def iter_hl7(path: Path, options: ReadOptions) -> Iterator[tuple[Report, ReportStatus | None] | RowInvalid]:
    """Yield what `corpora.sources.hl7.iter_records` yields, with the status of each report beside it."""
    hl7._check_locations(path, options.columns)
    row = 0
    versions: dict[bytes, int] = {}
    with readable(path):
        files = iter_files(path, hl7.SUFFIXES) if path.is_dir() else iter((path,))
    for file in files:
        for message in hl7._iter_messages(file, is_alone=file is path):
            for item in _read(path.name, row + 1, message, options):
                row += 1
                if isinstance(item, RowInvalid):
                    yield item
                    continue
                report = item.report
                key = blake2b(report.report_id.encode(), digest_size=16).digest()
                versions[key] = versions.get(key, 0) + 1
                if versions[key] > 1:
                    report = replace(report, report_id=f"{report.report_id}:{versions[key]}")
                yield report, _status(item)


def _read(source: str, row: int, message: bytes | str, options: ReadOptions) -> list[OruReport | RowInvalid]:
    if isinstance(message, str):
        return [RowInvalid(source=source, row=row, reason=message)]
    try:
        return list(parse_oru(message, encoding=options.encoding, locations=options.columns).reports)
    except MessageInvalid as invalid:
        reason = f"{invalid.reason} (HL7 error {invalid.error_code})"
        return [RowInvalid(source=source, row=row, field=invalid.place, reason=reason)]


def _status(item: OruReport) -> ReportStatus | None:
    if item.is_cancelled:
        return ReportStatus.CANCELLED
    status = _STATUS.get(item.result_status) if item.result_status else None
    if status in (ReportStatus.CANCELLED, ReportStatus.PRELIMINARY):
        return status
    if item.is_correction:
        return ReportStatus.CORRECTED
    return ReportStatus.ADDENDUM if item.is_addendum else status
