"""Pixels come out the same however they are stored: depth, sign, inversion, tables, compression, orientation."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileDataset
from pydicom.pixels.processing import apply_modality_lut, apply_windowing
from pydicom.sequence import Sequence
from pydicom.uid import (
    MPEG2MPML,
    UID,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGLSNearLossless,
    RLELossless,
)

from corpora.errors import SourceUnreadable
from corpora.imaging import pixels as pixels_module
from corpora.imaging.dicom_file import read_file_header
from corpora.imaging.extras import ImagingExtraMissing
from corpora.imaging.pixels import load_image
from tests.corpora.imaging.making import MARK, make_dataset, ramp, write

_SHAPES = st.tuples(st.integers(1, 12), st.integers(1, 12))


@st.composite
def stored_images(draw: st.DrawFn) -> tuple[NDArray[Any], int]:
    """Draw pixels of a depth from 8 to 16 bits, signed or not, and the depth."""
    bits, signed = draw(st.integers(8, 16)), draw(st.booleans())
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    kind = np.dtype(f"{'i' if signed else 'u'}{1 if bits == 8 else 2}")
    return draw(st_numpy.arrays(kind, draw(_SHAPES), elements=st.integers(low, high))), bits


def grey(dataset: Dataset, **options: Any) -> NDArray[Any]:
    return load_image(dataset, **options).pixels


def lut(first: int, entries: list[int], bits: int = 16) -> Sequence:
    item = Dataset()
    item.add_new(0x00283002, "SS" if first < 0 else "US", [len(entries), first, bits])
    item.add_new(0x00283006, "US", entries)
    return Sequence([item])


@given(stored_images())
def test_values_keep_their_order_and_fill_the_range(made: tuple[NDArray[Any], int]) -> None:
    stored, bits = made
    found = grey(make_dataset(stored, bits=bits))
    assert found.dtype == np.float32
    assert found.shape == stored.shape
    if stored.min() == stored.max():
        assert not found.any()
        return
    expected = (stored.astype(float) - float(stored.min())) / (float(stored.max()) - float(stored.min()))
    assert np.allclose(found, expected, atol=1e-6)
    assert (found.min(), found.max()) == (0, 1)


@given(stored_images(), st.booleans())
def test_monochrome1_and_its_twin_come_out_the_same(made: tuple[NDArray[Any], int], has_window: bool) -> None:
    stored, bits = made
    signed = stored.dtype.kind == "i"
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    twin = (low + high - stored.astype(np.int64)).astype(stored.dtype)
    # The window of all values lies the other way round in the same place (PS3.3 C.11.2.1.2).
    window: dict[str, Any] = {"WindowCenter": (low + high + 1) / 2, "WindowWidth": high - low + 1} if has_window else {}
    one = grey(make_dataset(stored, bits=bits, **window))
    other = grey(make_dataset(twin, bits=bits, PhotometricInterpretation="MONOCHROME1", **window))
    if has_window or stored.min() != stored.max():
        assert np.allclose(one, other, atol=1e-6)
    assert 0 <= other.min() <= other.max() <= 1


@given(
    stored_images(),
    st.floats(-2000, 2000, width=16),
    st.integers(1, 5000),
    st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]),
    st.sampled_from([(1, 0), (1, -1024), (2, 10), (0.5, 0)]),
)
def test_rescale_and_window_are_those_of_pydicom(
    made: tuple[NDArray[Any], int], center: float, width: int, function: str, rescale: tuple[float, float]
) -> None:
    stored, bits = made
    dataset = make_dataset(
        stored,
        bits=bits,
        WindowCenter=center,
        WindowWidth=width,
        VOILUTFunction=function,
        RescaleSlope=rescale[0],
        RescaleIntercept=rescale[1],
    )
    if width == 1 and function == "LINEAR":
        assert set(np.unique(grey(dataset))) <= {0.0, 1.0}
        return
    with np.errstate(over="ignore"):
        windowed = apply_windowing(apply_modality_lut(stored, dataset), dataset)
    low, high = (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if stored.dtype.kind == "i" else (0, 2.0**bits - 1)
    low, high = (edge * rescale[0] + rescale[1] for edge in (low, high))
    assert np.allclose(grey(dataset), (windowed - low) / (high - low), atol=1e-5)


@given(stored_images(), st.integers(1, 15))
def test_bits_that_do_not_count_do_not_matter(made: tuple[NDArray[Any], int], overlay: int) -> None:
    stored, bits = made
    if stored.dtype.itemsize * 8 == bits:
        return
    free = stored.dtype.itemsize * 8 - bits
    above = np.array((overlay % 2**free) << bits, dtype=np.int64).astype(np.uint16)
    kept = stored.view(np.uint16) & np.uint16(2**bits - 1)
    messed = (kept | above).view(stored.dtype)
    assert np.array_equal(grey(make_dataset(messed, bits=bits)), grey(make_dataset(stored, bits=bits)))


def test_value_of_high_bit_is_honoured() -> None:
    stored = ramp(12)
    shifted = make_dataset((stored << 4).astype(np.uint16), bits=12, HighBit=15)
    assert np.array_equal(grey(shifted), grey(make_dataset(stored, bits=12)))


def test_voi_lut_is_preferred_to_a_window() -> None:
    stored = np.array([[0, 1, 2, 3, 250]], dtype=np.uint8)
    dataset = make_dataset(stored, WindowCenter=1, WindowWidth=1)
    dataset.VOILUTSequence = lut(1, [0, 30000, 65535])
    assert np.allclose(grey(dataset), [[0, 0, 30000 / 65535, 1, 1]])


def test_voi_lut_of_signed_values_may_begin_below_zero() -> None:
    dataset = make_dataset(np.array([[-3, -2, -1, 0]], dtype=np.int16), bits=12)
    dataset.VOILUTSequence = lut(-2, [0, 512, 1023], bits=10)
    assert np.allclose(grey(dataset), [[0, 0, 512 / 1023, 1]])


def test_modality_lut_comes_before_the_window() -> None:
    dataset = make_dataset(np.array([[0, 1, 2, 3]], dtype=np.uint8), WindowCenter=500.5, WindowWidth=1001)
    dataset.ModalityLUTSequence = lut(0, [1000, 0, 250, 750])
    assert np.allclose(grey(dataset), [[1, 0, 0.25, 0.75]], atol=1e-3)


def test_lut_with_more_bits_than_it_announces_is_read() -> None:
    dataset = make_dataset(np.array([[0, 1]], dtype=np.uint8))
    dataset.VOILUTSequence = lut(0, [0, 4095], bits=8)
    assert np.allclose(grey(dataset), [[0, 1]])


def test_padding_is_black_and_does_not_count() -> None:
    stored = np.array([[0, 100, 200, 4000]], dtype=np.uint16)
    for name, expected in (("MONOCHROME2", [0, 0, 1, 0]), ("MONOCHROME1", [0, 1, 0, 0])):
        dataset = make_dataset(stored, bits=12, PhotometricInterpretation=name)
        dataset.add_new(0x00280120, "US", 0)
        dataset.add_new(0x00280121, "US", 0)
        dataset.PixelPaddingRangeLimit = 0
        padded = np.where(stored == 4000, 0, stored).astype(np.uint16)
        dataset.PixelData = padded.tobytes()
        assert np.allclose(grey(dataset), [expected])


def test_colour_becomes_luminance() -> None:
    stored = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], dtype=np.uint8)
    dataset = make_dataset(stored[..., 0], PhotometricInterpretation="RGB", SamplesPerPixel=3)
    dataset.Rows, dataset.Columns, dataset.PlanarConfiguration = 1, 4, 0
    dataset.PixelData = stored.tobytes()
    assert np.allclose(grey(dataset), [[0.299, 0.587, 0.114, 1]], atol=1e-6)


def test_palette_is_looked_up() -> None:
    dataset = make_dataset(np.array([[0, 1]], dtype=np.uint8), PhotometricInterpretation="PALETTE COLOR")
    for colour in ("Red", "Green", "Blue"):
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [2, 0, 16])
        setattr(dataset, f"{colour}PaletteColorLookupTableData", np.array([0, 65535], dtype="<u2").tobytes())
    assert np.allclose(grey(dataset), [[0, 1]])


def test_one_of_several_frames_is_asked_for() -> None:
    stored = np.stack([ramp(8), ramp(8)[::-1]])
    dataset = make_dataset(stored, NumberOfFrames=2)
    with pytest.raises(SourceUnreadable, match="2 frames"):
        load_image(dataset)
    with pytest.raises(SourceUnreadable, match="no frame 2"):
        load_image(dataset, frame=2)
    assert np.array_equal(grey(dataset, frame=1), grey(dataset, frame=0)[::-1])
    assert np.array_equal(grey(make_dataset(ramp(8)), frame=0), grey(dataset, frame=0))


_DCMTK = {
    "JPEG baseline": (["dcmcjpeg", "+eb", "+q", "95"], 8, False),
    "JPEG extended": (["dcmcjpeg", "+ee", "+q", "95"], 12, False),
    "JPEG lossless": (["dcmcjpeg", "+el"], 16, True),
    "JPEG lossless, first order": (["dcmcjpeg", "+e1"], 16, True),
    "JPEG-LS": (["dcmcjpls", "+el"], 12, True),
    "JPEG-LS of 16 bits": (["dcmcjpls", "+el"], 16, True),
    "JPEG-LS with losses": (["dcmcjpls", "+en"], 8, False),
    "RLE": (["dcmcrle"], 12, True),
}


@pytest.mark.parametrize("kind", _DCMTK)
def test_what_dcmtk_compresses_comes_out_as_it_went_in(kind: str, tmp_path: Path) -> None:
    command, bits, lossless = _DCMTK[kind]
    dataset = make_dataset(_smooth(bits), bits=bits, WindowCenter=2 ** (bits - 1), WindowWidth=2**bits)
    plain = write(tmp_path / "plain.dcm", dataset)
    try:
        subprocess.run([*command, str(plain), str(tmp_path / "small.dcm")], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip(f"{command[0]} of DCMTK is not installed (make peers)")
    small = tmp_path / "small.dcm"
    row = read_file_header(small, "small.dcm", small.stat().st_size, 0)
    assert UID(row["transfer_syntax_uid"]).is_compressed
    before, after = load_image(plain).pixels, load_image(small).pixels
    if lossless:
        assert np.array_equal(before, after)
    else:
        assert np.abs(before - after).max() < 0.05


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, RLELossless], ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_compressed_pixels_are_those_of_the_uncompressed(syntax: Any, bits: int, signed: bool, tmp_path: Path) -> None:
    stored = ramp(bits, signed=signed, shape=(33, 50))
    dataset = make_dataset(stored, bits=bits)
    before = grey(dataset)
    dataset.compress(syntax, encoding_plugin="pylibjpeg", generate_instance_uid=False)
    path = write(tmp_path / "small.dcm", dataset)
    assert np.array_equal(load_image(path).pixels, before)


def _smooth(bits: int) -> NDArray[Any]:
    rows, columns = np.mgrid[0:64, 0:48]
    wave = (np.sin(rows / 9) + np.cos(columns / 7) + 2) / 4
    return np.asarray(np.rint(wave * (2**bits - 1)), dtype=np.uint8 if bits == 8 else np.uint16)


def test_every_common_transfer_syntax_has_a_decoder() -> None:
    from pydicom.pixels.decoders.base import get_decoder

    names = "4.50 4.51 4.57 4.70 4.80 4.81 4.90 4.91 4.201 5".split()
    assert all(get_decoder(f"1.2.840.10008.1.2.{name}").is_available for name in names)
    assert (JPEGLSNearLossless, HTJ2KLossless) == ("1.2.840.10008.1.2.4.81", "1.2.840.10008.1.2.4.201")


def test_missing_decoder_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unavailable:
        is_available = False

    monkeypatch.setattr("pydicom.pixels.decoders.base.get_decoder", lambda uid: Unavailable())
    with pytest.raises(ImagingExtraMissing, match=r"python-gdcm.*radlabel\[images\]"):
        load_image(make_dataset())


def test_film_is_refused(tmp_path: Path) -> None:
    dataset = make_dataset()
    dataset.file_meta.TransferSyntaxUID = MPEG2MPML
    with pytest.raises(SourceUnreadable, match="none of single pictures"):
        load_image(dataset)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"PixelData": b"\1\2"}, "cannot be decoded"),
        ({"BitsStored": 99}, "cannot be decoded"),
        ({"Rows": None}, "Rows is missing"),
        ({"PhotometricInterpretation": None}, "cannot be decoded"),
    ],
)
def test_broken_pixels_are_told_without_their_content(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = write(tmp_path / "broken.dcm", make_dataset(**change))
    with pytest.raises(SourceUnreadable, match=rf"broken\.dcm: .*{said}") as caught:
        load_image(path)
    assert MARK not in str(caught.value)


def test_files_that_are_no_images_are_told(tmp_path: Path) -> None:
    (tmp_path / "notes.dcm").write_text(f"{MARK} " * 100)
    with pytest.raises(SourceUnreadable, match=r"notes\.dcm"):
        load_image(tmp_path / "notes.dcm")
    with pytest.raises(SourceUnreadable, match="No such file"):
        load_image(tmp_path / "nowhere.png")
    report = make_dataset(PixelData=None, Rows=None, Columns=None, SOPClassUID="1.2.840.10008.5.1.4.1.1.88.22")
    with pytest.raises(SourceUnreadable, match="holds no image"):
        load_image(report)


@given(_SHAPES.filter(lambda shape: min(shape) >= 2), st.integers(1, 40))
def test_resizing_keeps_aspect_and_carries_the_spacing(shape: tuple[int, int], side: int) -> None:
    dataset = make_dataset(ramp(8, shape=shape), PixelSpacing=["0.5", "0.25"])
    found = load_image(dataset, longest_side=side)
    rows, columns = found.pixels.shape
    assert max(rows, columns) == side
    assert min(rows, columns) == max(1, round(min(shape) * side / max(shape)))
    assert found.row_spacing_mm == pytest.approx(0.5 * shape[0] / rows)
    assert found.column_spacing_mm == pytest.approx(0.25 * shape[1] / columns)
    assert 0 <= found.pixels.min() <= found.pixels.max() <= 1
    # A box around everything is still one.
    assert found.placement.box(0, 0, shape[1], shape[0]) == pytest.approx((0, 0, columns, rows))


@pytest.mark.parametrize(
    "orientation",
    ["L\\F", "R\\F", "L\\H", "R\\H", "F\\L", "F\\R", "H\\L", "H\\R"],
    ids="LF RF LH RH FL FR HL HR".split(),
)
def test_upright_images_look_the_same_however_they_were_stored(orientation: str) -> None:
    usual = np.zeros((6, 8), dtype=np.uint8)
    usual[0:2, 5:8] = 255  # at the patient's upper left
    stored = usual
    across, down = orientation.split("\\")
    is_transposed = across in "FH"
    if is_transposed:
        stored, across, down = stored.T, down, across
    horizontal, vertical = (0, 1) if is_transposed else (1, 0)
    stored = np.flip(stored, horizontal) if across == "R" else stored
    stored = np.flip(stored, vertical) if down == "H" else stored
    dataset = make_dataset(np.ascontiguousarray(stored), PatientOrientation=orientation, PixelSpacing=["2", "3"])
    found = load_image(dataset, upright=True, longest_side=16)
    assert found.pixels.shape == (12, 16)
    assert found.pixels[0, 15] > 0.9 > 0.1 > found.pixels[11, 0]
    assert found.patient_orientation == "L\\F"
    assert (found.row_spacing_mm, found.column_spacing_mm) == ((1.5, 1) if is_transposed else (1, 1.5))
    where = np.argwhere(stored == 255)
    (top, left), (bottom, right) = where.min(0), where.max(0) + 1
    box = found.placement.box(float(left), float(top), float(right - left), float(bottom - top))
    assert box == pytest.approx((10, 0, 6, 4))
    mask = found.placement.mask(stored == 255)
    assert mask.shape == (12, 16)
    assert np.array_equal(np.argwhere(mask).min(0), [0, 10])


@pytest.mark.parametrize("orientation", [None, "A\\F", "L", "X\\Y", "L\\R"])
def test_images_that_cannot_be_turned_stay_as_they_are(orientation: str | None) -> None:
    dataset = make_dataset(PatientOrientation=orientation or "")
    assert np.array_equal(grey(dataset, upright=True), grey(dataset))


def test_mask_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        load_image(make_dataset()).placement.mask(np.ones((3, 3), dtype=bool))


def test_eight_bits_are_those_of_the_floats() -> None:
    dataset = make_dataset(ramp(12), bits=12)
    eight = grey(dataset, dtype="uint8")
    assert eight.dtype == np.uint8
    assert np.abs(eight / 255 - grey(dataset)).max() <= 0.5 / 255 + 1e-6
    assert repr(load_image(dataset)) == "ImagePixels(16 x 24, float32)"


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_pictures_are_read_as_they_are(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(_smooth(8)).save(path, quality=100)
    assert np.abs(load_image(path).pixels - _smooth(8) / 255).max() < 0.02


def test_sixteen_bits_of_a_png_are_kept(tmp_path: Path) -> None:
    Image.fromarray(_smooth(16)).save(tmp_path / "x.png")
    assert np.abs(load_image(tmp_path / "x.png").pixels - _smooth(16) / 65535).max() < 1e-6


def test_longest_side_is_at_least_one() -> None:
    with pytest.raises(ValueError, match="longest_side"):
        load_image(make_dataset(), longest_side=0)
    assert pixels_module.load_image is load_image
    assert isinstance(make_dataset(), FileDataset)
