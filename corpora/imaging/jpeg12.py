"""JPEG Extended of 12 bits (PS3.5 A.4.1) for pydicom: GDCM decodes it, but pydicom's own plug-in does not ask it to."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from pydicom.uid import JPEGExtended12Bit

from corpora.imaging.extras import need

if TYPE_CHECKING:
    from pydicom.pixels.decoders.base import DecodeRunner

_LABEL = "radlabel"
DECODER_DEPENDENCIES = {JPEGExtended12Bit: ("python-gdcm",)}


def is_available(uid: str) -> bool:
    """Return whether GDCM is installed; pydicom asks this of a plug-in."""
    return uid in DECODER_DEPENDENCIES and find_spec("gdcm") is not None


def add_to_pydicom() -> None:
    """Make pydicom decode such images, once."""
    from pydicom.pixels.decoders.base import get_decoder

    decoder = get_decoder(JPEGExtended12Bit)
    if _LABEL not in decoder.available_plugins and is_available(JPEGExtended12Bit):
        decoder.add_plugin(_LABEL, (__name__, "decode_frame"))


def decode_frame(source: bytes, runner: DecodeRunner) -> bytes:
    """Return the pixels of a frame, as pydicom's plug-ins do."""
    gdcm = need("gdcm", "python-gdcm", "JPEG Extended")
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(source)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((runner.columns, runner.rows, 1))
    image.SetDataElement(element)
    kind = gdcm.PhotometricInterpretation.GetPIType(str(runner.photometric_interpretation))
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    syntax = gdcm.TransferSyntax.GetTSType(str.__str__(runner.transfer_syntax))
    image.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    bits = runner.bits_stored
    image.SetPixelFormat(
        gdcm.PixelFormat(runner.samples_per_pixel, runner.bits_allocated, bits, bits - 1, runner.pixel_representation)
    )
    # GDCM gives bytes as text.
    pixels: bytes = image.GetBuffer().encode("utf-8", "surrogateescape")
    return pixels
