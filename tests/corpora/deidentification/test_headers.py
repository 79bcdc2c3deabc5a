"""DICOM headers: every original identifier is looked for in the bytes that would be handed out."""

import datetime as dt
import io
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ComputedRadiographyImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from corpora.deidentification import HeaderOptions, HeaderReport, Pseudonymiser, deidentify_header
from corpora.deidentification.errors import NotDeidentifiable
from corpora.deidentification.pseudonyms import IdentifierKind

pytest.importorskip("dicomanonymizer", reason="dicom-anonymizer is not installed")

MAKER = Pseudonymiser(b"sixteen bytes or more")
STUDY, SERIES, IMAGE, OTHER = (f"1.2.826.0.1.3680043.99.{number}.20240131" for number in range(4))
NAME, PATIENT, ACCESSION = "Grünbaum^Hildegard^Maria", "MRN-4711-99", "ACC20240131X"
#: What must be nowhere afterwards.
SECRETS = (
    *("Grünbaum", "Hildegard", "GRUENBAUM", PATIENT, ACCESSION, STUDY, SERIES, IMAGE, OTHER),
    *("Dr Weisskopf", "St. Invented", "20240131", "19440506", "555-0199", "Lindenweg", "PRIVATE-SECRET"),
)


def invented(**change: Any) -> Dataset:
    """Return an image header that names a patient in as many places as one can."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID, dataset.SOPInstanceUID = ComputedRadiographyImageStorage, IMAGE
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = STUDY, SERIES
    dataset.PatientName, dataset.PatientID, dataset.AccessionNumber = NAME, PATIENT, ACCESSION
    dataset.PatientBirthDate, dataset.PatientSex, dataset.PatientAge = "19440506", "F", "093Y"
    dataset.StudyDate, dataset.SeriesDate, dataset.AcquisitionDateTime = "20240131", "20240202", "20240131101112.5"
    dataset.StudyTime, dataset.StudyID = "101112", ACCESSION
    dataset.ReferringPhysicianName, dataset.InstitutionName = "Dr Weisskopf", "St. Invented"
    dataset.PatientAddress, dataset.PatientTelephoneNumbers = "Lindenweg 3", "555-0199"
    dataset.StudyDescription = f"Chest of {PATIENT}"
    dataset.ImageComments = "GRUENBAUM, Hildegard"
    # Attributes that the profile's table does not name, and people write to nevertheless.
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.add_new(0x00181400, "LO", f"Standard {ACCESSION}")
    dataset.Modality, dataset.ViewPosition, dataset.BodyPartExamined = "CR", "PA", "CHEST"
    dataset.Manufacturer = f"Invented Works {ACCESSION}"
    inner = Dataset()
    inner.ReferencedSOPClassUID, inner.ReferencedSOPInstanceUID = ComputedRadiographyImageStorage, OTHER
    inner.PatientName = NAME
    deep = Dataset()
    deep.PatientID, deep.StudyDate, deep.StudyInstanceUID = PATIENT, "20240131", STUDY
    deep.add_new(0x00090010, "LO", "ACME")
    deep.add_new(0x00091001, "LO", "PRIVATE-SECRET")
    inner.OtherPatientIDsSequence = Sequence([deep])
    deeper = Dataset()
    deeper.AccessionNumber, deeper.StudyInstanceUID = ACCESSION, STUDY
    deeper.RequestedProcedureDescription = "for Hildegard"
    dataset.RequestAttributesSequence = Sequence([deeper])
    dataset.SourceImageSequence = Sequence([inner])
    dataset.private_block(0x0011, "ACME", create=True).add_new(1, "LO", "PRIVATE-SECRET")
    dataset.add_new(0x60003000, "OW", b"\1\0" * 8)
    dataset.add_new(0x60004000, "LT", "Hildegard")
    dataset.add_new(0xFFFCFFFC, "OB", b"PRIVATE-SECRET")
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns, dataset.BitsAllocated, dataset.BitsStored = 4, 4, 8, 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PixelData = np.arange(16, dtype=np.uint8).tobytes()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(IMAGE)
    dataset.file_meta.SourceApplicationEntityTitle = "HILDEGARD_AE"
    dataset.preamble = b"PRIVATE-SECRET".ljust(128, b" ")
    for keyword, value in change.items():
        setattr(dataset, keyword, value)
    return dataset


def written(dataset: Dataset) -> bytes:
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def reread(dataset: Dataset) -> Dataset:
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return pydicom.dcmread(io.BytesIO(stream.getvalue()))


def found_in(data: bytes) -> list[str]:
    folded = data.lower()
    return [secret for secret in SECRETS if secret.lower().encode() in folded or secret.encode("latin-1") in data]


def cleaned(dataset: Dataset, options: HeaderOptions | None = None) -> tuple[pydicom.FileDataset, HeaderReport]:
    source = reread(dataset)
    report = deidentify_header(source, MAKER, options)
    return pydicom.dcmread(io.BytesIO(written(source))), report


def test_no_original_identifier_is_left_in_the_bytes() -> None:
    source = reread(invented())
    assert set(found_in(written(source))) >= {PATIENT, ACCESSION, STUDY, OTHER, "PRIVATE-SECRET"}
    report = deidentify_header(source, MAKER)
    assert found_in(written(source)) == []
    assert report.leftovers >= 1  # the accession number copied into a free text that the table does not name
    assert report.actions["private or unknown"] >= 2


def test_none_is_left_in_implicit_vr_either() -> None:
    dataset = invented()
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    result, _ = cleaned(dataset)
    assert found_in(written(result)) == []


def test_links_and_pixels_stay_intact() -> None:
    result, _ = cleaned(invented())
    assert result.PatientID == MAKER.pseudonym(IdentifierKind.PATIENT_ID, PATIENT)
    assert result.AccessionNumber == MAKER.pseudonym(IdentifierKind.ACCESSION_NUMBER, ACCESSION)
    assert result.StudyInstanceUID == MAKER.uid(STUDY)
    assert result.SOPInstanceUID == MAKER.uid(IMAGE) == result.file_meta.MediaStorageSOPInstanceUID
    assert result.SOPClassUID == ComputedRadiographyImageStorage
    (referenced,) = result.SourceImageSequence
    assert referenced.ReferencedSOPInstanceUID == MAKER.uid(OTHER)
    assert referenced.ReferencedSOPClassUID == ComputedRadiographyImageStorage
    assert result.PixelData == np.arange(16, dtype=np.uint8).tobytes()
    assert (result.Modality, result.ViewPosition, result.Rows) == ("CR", "PA", 4)
    assert result.file_meta.get("SourceApplicationEntityTitle") is None


def test_intervals_between_dates_stay_and_times_go_unless_kept() -> None:
    source = invented()
    result, _ = cleaned(source)
    days = MAKER.shift_days(PATIENT)
    assert MAKER.shift_date(PATIENT, dt.date(2024, 1, 31)).strftime("%Y%m%d") == result.StudyDate
    assert days < 0
    assert not result.StudyTime
    assert result.get("PatientBirthDate") != "19440506"
    kept, _ = cleaned(invented(), HeaderOptions(keep_times=True))
    assert kept.StudyTime == "101112"


def test_sex_and_a_capped_age_stay_when_asked_for() -> None:
    without, _ = cleaned(invented())
    assert not without.get("PatientSex")
    assert "PatientAge" not in without
    result, _ = cleaned(invented(), HeaderOptions(retain_patient_characteristics=True))
    assert result.PatientSex == "F"
    assert result.PatientAge == "090Y"
    codes = [item.CodeValue for item in result.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113107", "113108"]
    assert result.PatientIdentityRemoved == "YES"


@pytest.mark.parametrize(
    ("change", "said", "review"),
    [
        ({}, "unknown", True),
        ({"BurnedInAnnotation": "YES"}, "yes", True),
        ({"BurnedInAnnotation": "NO"}, "no", False),
        ({"BurnedInAnnotation": "NO", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "no", True),
        ({"BurnedInAnnotation": "NO", "RecognizableVisualFeatures": "YES"}, "no", True),
    ],
)
def test_text_in_the_pixels_is_flagged(change: dict[str, str], said: str, review: bool) -> None:
    _, report = cleaned(invented(**change))
    assert (report.burned_in_annotation, report.needs_review) == (said, review)


def test_a_report_object_is_refused() -> None:
    dataset = invented()
    dataset.ContentSequence = Sequence([Dataset()])
    with pytest.raises(NotDeidentifiable, match="structured report"):
        deidentify_header(dataset, MAKER)


@pytest.mark.parametrize("missing", ["SOPClassUID", "SOPInstanceUID"])
def test_a_data_set_that_is_no_object_is_refused(missing: str) -> None:
    dataset = invented()
    delattr(dataset, missing)
    with pytest.raises(NotDeidentifiable, match="SOP"):
        deidentify_header(dataset, MAKER)


def test_the_same_header_twice_gives_the_same_bytes_and_another_key_others() -> None:
    first, second = reread(invented()), reread(invented())
    deidentify_header(first, MAKER)
    deidentify_header(second, MAKER)
    assert written(first) == written(second)
    third = reread(invented())
    deidentify_header(third, Pseudonymiser(b"another sixteen bytes"))
    assert third.PatientID != first.PatientID
    assert third.StudyInstanceUID != first.StudyInstanceUID


_WORD = st.text(st.sampled_from("QXZJKVWqxzjkvw0189"), min_size=6, max_size=10).map("q9X{}".format)


@settings(max_examples=40)
@given(name=_WORD, number=_WORD, accession=_WORD, place=st.sampled_from(
    ["StudyDescription", "SeriesDescription", "ProtocolName", "ImageComments", "Manufacturer", "ContrastBolusAgent",
     "PatientComments", "DerivationDescription", "AcquisitionDeviceProcessingDescription", "ReasonForStudy"]
))  # fmt: skip
def test_an_identifier_copied_anywhere_is_gone(name: str, number: str, accession: str, place: str) -> None:
    dataset = invented(PatientID=number, AccessionNumber=accession, PatientName=f"Zq{name}^Xk{name}")
    setattr(dataset, place, f"seen {number} of {accession}")
    item = Dataset()
    setattr(item, place, number)
    dataset.ProcedureCodeSequence = Sequence([item])
    result, _ = cleaned(dataset)
    data = written(result)
    for secret in (number, accession, f"Zq{name}"):
        assert secret.encode() not in data
