"""An invented hospital: DICOM files and reports, whose identifiers carry a mark that no export may hold."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.corpora.imaging.making import make_dataset, write

MARK = "QZXMARK"
UID_ROOT = "1.2.826.0.1.3680043.10.99999"
SHAPE = (176, 144)
TEXTS = (
    "FINDINGS: Small left pleural effusion. No pneumothorax.",
    "FINDINGS: Right upper lobe consolidation. IMPRESSION: Pneumonia.",
    "FINDINGS: The lungs are clear. The heart is normal in size. IMPRESSION: No acute disease.",
    "FINDINGS: Possible edema. Cardiomegaly is present.",
    "FINDINGS: Left basilar atelectasis. Endotracheal tube in place.",
    "FINDINGS: Large right pneumothorax. No pleural effusion.",
)


@dataclass(frozen=True)
class Study:
    """One study of the hospital."""

    patient: int
    number: int
    images: int = 1

    @property
    def patient_id(self) -> str:
        return f"{MARK}P{self.patient:04d}"

    @property
    def accession_number(self) -> str:
        return f"{MARK}{self.number:05d}"

    @property
    def uid(self) -> str:
        return f"{UID_ROOT}.{self.number}"

    @property
    def report_id(self) -> str:
        return f"{MARK}R{self.number:05d}"

    @property
    def date(self) -> dt.date:
        return dt.date(2021, 3, 1) + dt.timedelta(days=self.number)

    @property
    def text(self) -> str:
        # The number makes each text one of its own, as the accession number in a dictated report does not.
        return f"{TEXTS[self.number % len(TEXTS)]} Series {self.number} of the day."


def studies(patients: int, first: int = 0) -> list[Study]:
    """Return studies of so many patients: every third patient has two, every fourth study has two images."""
    found = []
    for patient in range(first, first + patients):
        for turn in range(2 if patient % 3 == 0 else 1):
            number = patient * 7 + turn  # so that all texts come up
            found.append(Study(patient, number, 2 if number % 4 == 0 else 1))
    return found


@lru_cache(maxsize=512)
def picture(seed: int, shape: tuple[int, int] = SHAPE) -> NDArray[np.uint16]:
    """Return twelve-bit pixels that look like no other seed's: a few smooth blobs."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]] / np.array(shape).reshape(2, 1, 1)
    field = sum(
        random.uniform(0.3, 1) * np.exp(-((rows - random.random()) ** 2 + (columns - random.random()) ** 2) / 0.03)
        for _ in range(14)
    )
    assert isinstance(field, np.ndarray)
    scaled = (field - field.min()) / np.ptp(field)
    return np.asarray(np.rint(scaled * 4095), dtype=np.uint16)


def write_image(folder: Path, study: Study, number: int, seed: int | None = None, **changes: Any) -> Path:
    """Write one image of a study; its header names the patient in places where nobody looks, too."""
    said = {
        "StudyInstanceUID": study.uid,
        "SeriesInstanceUID": f"{study.uid}.1",
        "PatientID": study.patient_id,
        "PatientName": f"{MARK}^Name{study.patient}",
        "AccessionNumber": study.accession_number,
        "StudyDate": study.date.strftime("%Y%m%d"),
        "ViewPosition": "PA" if study.number % 2 else "AP",
        "BodyPartExamined": "CHEST",
        "PatientSex": "F" if study.patient % 2 else "M",
        "PatientAge": f"{30 + study.patient % 65:03d}Y",
        "Manufacturer": "Invented Machines",
        "StudyDescription": f"CHEST {MARK} of {study.patient_id}",
        "InstitutionName": f"{MARK} hospital",
    }
    pixels = picture(study.number * 10 + number if seed is None else seed)
    dataset = make_dataset(pixels, bits=12, uid=f"{study.uid}.1.{number}", **{**said, **changes})
    return write(folder / study.accession_number / f"{study.report_id}_{number}.dcm", dataset)


def write_images(folder: Path, of: Sequence[Study]) -> Path:
    """Write all images of studies and return the folder."""
    for study in of:
        for number in range(study.images):
            write_image(folder, study, number)
    return folder


def write_reports(path: Path, of: Sequence[Study], *more: dict[str, str]) -> Path:
    """Write the reports of studies, and further rows, and return the file."""
    names = ("report_id", "accession_number", "patient_id", "study_date", "report_status", "report_time", "text")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, names, restval="")
        writer.writeheader()
        for study in of:
            writer.writerow(
                {
                    "report_id": study.report_id,
                    "accession_number": study.accession_number,
                    "patient_id": study.patient_id,
                    "study_date": study.date.isoformat(),
                    "text": study.text,
                }
            )
        writer.writerows(more)
    return path


def files_of(folder: Path) -> dict[str, bytes]:
    """Return the content of every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
