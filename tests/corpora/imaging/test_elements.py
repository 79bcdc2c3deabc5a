"""The quick reader of headers says what pydicom says, or says nothing."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import config, dcmread, dcmwrite
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
)

from corpora.imaging.dicom_file import read_file_header
from corpora.imaging.elements import read_ordinary
from corpora.imaging.header import NotAnImage, Unreadable, dataset_to_row, header_to_row
from tests.corpora.imaging.making import make_dataset, write

_WORDS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Zs")), max_size=12)
_TEXTS = st.one_of(_WORDS, st.lists(_WORDS, min_size=2, max_size=3).map("\\".join), st.sampled_from(["", " ", " A B "]))
_CODES = st.text("ABCDEFGHIJ_ 0123456789", max_size=12)
_CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "PatientID": _TEXTS,
        "AccessionNumber": _TEXTS,
        "Manufacturer": _TEXTS,
        "StudyDescription": _TEXTS,
        "SeriesDescription": _TEXTS,
        "IssuerOfPatientID": _TEXTS,
        "ViewPosition": _CODES,
        "PatientOrientation": st.sampled_from(["L\\F", "L \\ F", "A\\F", "\\F", "L"]),
        "PatientAge": st.sampled_from(["045Y", "006M", "45Y", "old", ""]),
        "StudyDate": st.sampled_from(["20260131", "2026.01.31", "20261331", "", "soon"]),
        "PixelSpacing": st.sampled_from(["0.1\\0.2", "0.1", "1e-1\\ .2", "0\\1", "a\\b", ""]),
        "ImagerPixelSpacing": st.sampled_from(["0.143\\0.143", ""]),
        "NumberOfFrames": st.sampled_from(["1", "12", "0", "-1", "1.0", ""]),
        "BurnedInAnnotation": st.sampled_from(["YES", "NO", "no", ""]),
        "Laterality": st.sampled_from(["L", "R", "X", ""]),
        "BitsStored": st.integers(0, 70),
        "Rows": st.integers(0, 2**16 - 1),
    },
)


# Character sets of other scripts lack some of the letters that the rest of a test's header is in.
PLAIN: dict[str, Any] = {"PatientName": "A", "PatientID": "B", "AccessionNumber": "C"}


def _outcome(read: Any) -> Any:
    try:
        return read()
    except (NotAnImage, Unreadable) as error:
        return type(error), str(error)


def _as_bytes(dataset: FileDataset, implicit: bool = False) -> bytes:
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True, implicit_vr=implicit, little_endian=True)
    return buffer.getvalue()


def _agree(content: bytes) -> bool:
    """Whether the quick reader read it; that it then says what pydicom says is asserted."""
    found = read_ordinary(content)
    if found is None:
        return False
    with warnings.catch_warnings(), config.disable_value_validation():
        warnings.simplefilter("ignore")
        dataset = dcmread(BytesIO(content), stop_before_pixels=True)
        assert _outcome(lambda: header_to_row(found.header)) == _outcome(lambda: dataset_to_row(dataset))
        pixels = dcmread(BytesIO(content)).PixelData
    assert found.transfer_syntax_uid == dataset.file_meta.TransferSyntaxUID
    assert content[found.pixels.begins :][: len(pixels)] == pixels
    return True


@settings(max_examples=150)
@given(_CHANGES, st.sampled_from(["ISO_IR 192", "ISO_IR 100", ""]), st.booleans())
def test_ordinary_headers_are_read_as_pydicom_reads_them(changes: dict[str, Any], charset: str, implicit: bool) -> None:
    with config.disable_value_validation():
        dataset = make_dataset(SpecificCharacterSet=charset)
        if implicit:
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        for keyword, value in changes.items():
            if isinstance(value, str) and charset != "ISO_IR 192":
                value = value.encode("ascii", "ignore").decode()
            try:
                setattr(dataset, keyword, value)
            except (ValueError, OverflowError):
                continue  # pydicom does not make it
        content = _as_bytes(dataset, implicit)
        assert _agree(content)


@settings(max_examples=300)
@given(st.integers(0, 10**9), st.binary(min_size=1, max_size=6), st.booleans())
def test_damaged_headers_are_read_as_pydicom_reads_them_or_not_at_all(at: int, put: bytes, implicit: bool) -> None:
    dataset = make_dataset(uid="1.2.3.4")
    dataset.StudyInstanceUID = dataset.SeriesInstanceUID = "1.2.3"
    if implicit:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    content = bytearray(_as_bytes(dataset, implicit))
    header_ends = len(content) - len(dataset.PixelData)
    place = 132 + at % (header_ends - 132 - len(put))
    content[place : place + len(put)] = put
    found = read_ordinary(bytes(content))
    if found is None:
        return
    quick = _outcome(lambda: header_to_row(found.header))
    with warnings.catch_warnings(), config.disable_value_validation():
        warnings.simplefilter("ignore")
        try:
            careful = _outcome(
                lambda: dataset_to_row(dcmread(BytesIO(bytes(content)), stop_before_pixels=True, force=True))
            )
        except Exception:
            careful = None
    if careful is not None:
        assert quick == careful


@given(st.integers(0, 1_000))
def test_cut_headers_are_not_read(end: int) -> None:
    content = _as_bytes(make_dataset())
    header = content[: len(content) - 16 * 24 - 12]
    assert read_ordinary(header[: min(end, len(header))]) is None


def _sequences() -> FileDataset:
    dataset = make_dataset(ViewPosition="")
    code, deep, issuer = Dataset(), Dataset(), Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "399067008", "SCT", "lateral"
    deep.CodeValue = "272479007"
    code.ViewModifierCodeSequence = Sequence([deep])
    issuer.LocalNamespaceEntityID, issuer.UniversalEntityID = "NORTH", "1.2.3"
    dataset.ViewCodeSequence = Sequence([code])
    dataset.IssuerOfAccessionNumberSequence = Sequence([issuer])
    dataset.RequestAttributesSequence = Sequence([deep, deep])
    return dataset


@pytest.mark.parametrize("implicit", [False, True], ids=["explicit", "implicit"])
@pytest.mark.parametrize("undefined", [False, True], ids=["with lengths", "without lengths"])
def test_sequences_are_read_with_and_without_lengths(implicit: bool, undefined: bool) -> None:
    dataset = _sequences()
    if implicit:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    for element in dataset.iterall():
        if element.VR == "SQ":
            element.is_undefined_length = undefined
            for item in element.value:
                item.is_undefined_length_sequence_item = undefined
    content = _as_bytes(dataset, implicit)
    assert _agree(content)
    found = read_ordinary(content)
    assert found is not None
    row = header_to_row(found.header)
    assert (row["view"], row["accession_number_issuer"]) == ("LATERAL", "NORTH")


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 144", "Иванов"),
        ("GB18030", "王"),
        (["", "ISO 2022 IR 87"], "山田"),
    ],
)
def test_less_common_character_sets_are_left_to_pydicom(charset: Any, name: str, tmp_path: Path) -> None:
    path = write(tmp_path / "x.dcm", make_dataset(SpecificCharacterSet=charset, StudyDescription=name, **PLAIN))
    assert read_ordinary(path.read_bytes()) is None
    assert read_file_header(path, "x.dcm", path.stat().st_size, 0)["study_description"] == name


def test_less_common_encodings_are_left_to_pydicom(tmp_path: Path) -> None:
    for syntax, little in ((ExplicitVRBigEndian, False), (DeflatedExplicitVRLittleEndian, True)):
        dataset = make_dataset()
        dataset.file_meta.TransferSyntaxUID = syntax
        buffer = BytesIO()
        dcmwrite(buffer, dataset, enforce_file_format=True, implicit_vr=False, little_endian=little)
        assert read_ordinary(buffer.getvalue()) is None
        path = tmp_path / "x.dcm"
        path.write_bytes(buffer.getvalue())
        row = read_file_header(path, "x.dcm", path.stat().st_size, 0)
        assert (row["rows"], row["view"], row["transfer_syntax_uid"]) == (16, "PA", syntax)
