"""An index of 20,000 DICOM files against a plain loop of pydicom, and what a second scan of unchanged files takes.

    python -m tests.benchmarks.bench_index --json build/bench-index.json

The files are made first (not measured): small pictures below headers as long as those of real radiographs. Then, in
turns and each in a process of its own, with warm page cache and process start included:

- the plain loop, ``pydicom.dcmread(path, stop_before_pixels=True)`` for each file, which keeps nothing;
- ``radlabel images index`` into a new index, which reads, checks and writes;
- ``radlabel images index`` again, onto the index that it has just written.

The medians of all turns are compared with that of the loop. A quarter of the files is measured too, for the memory.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

from tests.benchmarks.measure import Run, machine, run_measured

FILES_PER_STUDY = 2
STUDIES_PER_FOLDER = 100
MIN_SPEEDUP = 1.5
MIN_RESCAN_SPEEDUP = 10.0
PLAIN_LOOP = """
import sys
from pathlib import Path
import pydicom
for path in Path(sys.argv[1]).rglob("*.dcm"):
    pydicom.dcmread(path, stop_before_pixels=True)
"""


def main() -> None:
    """Measure, print, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the files are made (default: a temporary folder)")
    parser.add_argument("--json", type=Path, help="where the numbers go")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        few = measure(Path(folder), arguments.files // 4, 1)
        all_files = measure(Path(folder), arguments.files, arguments.turns)
    result = {
        "machine": {**machine(), "pydicom": version("pydicom")},
        "sizes": {str(arguments.files // 4): few, str(arguments.files): all_files},
        "bars": {
            "speedup": MIN_SPEEDUP,
            "rescan_speedup": MIN_RESCAN_SPEEDUP,
            "peak_mib": "as high for all files as for a quarter",
        },
    }
    text = json.dumps(result, indent=2)
    print(text)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(text + "\n", encoding="utf-8")


def measure(folder: Path, files: int, turns: int) -> dict[str, object]:
    """Make so many files, go through them in each of the three ways and in turns, and return the medians."""
    tree, index = folder / f"tree-{files}", folder / f"index-{files}.parquet"
    write_tree(tree, files)
    loop: list[str | Path] = [sys.executable, "-c", PLAIN_LOOP, tree]
    scan: list[str | Path] = [sys.executable, "-m", "nlp_service", "images", "index", tree, "-o", index]
    run_measured(loop)  # fills the page cache
    runs: dict[str, list[Run]] = {"plain_loop": [], "index": [], "index_again": []}
    for turn in range(1, turns + 1):
        index.unlink(missing_ok=True)
        for name, command in (("plain_loop", loop), ("index", scan), ("index_again", scan)):
            runs[name].append(run_measured(command))
        last = ", ".join(f"{name} {made[-1].wall_s:.2f} s" for name, made in runs.items())
        print(f"{files:,} files, turn {turn}: {last}", file=sys.stderr, flush=True)
    walls = {name: statistics.median(run.wall_s for run in made) for name, made in runs.items()}
    return {
        **{name: _summary(made) for name, made in runs.items()},
        "files_per_s": round(files / walls["index"], 1),
        "speedup": round(walls["plain_loop"] / walls["index"], 2),
        "rescan_speedup": round(walls["plain_loop"] / walls["index_again"], 2),
        "rescan_against_first_scan": round(walls["index"] / walls["index_again"], 2),
    }


def _summary(runs: Sequence[Run]) -> dict[str, object]:
    return {
        "wall_s": round(statistics.median(run.wall_s for run in runs), 3),
        "wall_s_of_turns": [round(run.wall_s, 3) for run in runs],
        "cpu_s": round(statistics.median(run.cpu_s for run in runs), 3),
        "peak_mib": round(max(run.peak_mib for run in runs), 1),
    }


def write_tree(tree: Path, files: int) -> None:
    """Write so many files, two to a study."""
    dataset = make_header()
    for number in range(files):
        study, instance = divmod(number, FILES_PER_STUDY)
        dataset.StudyInstanceUID = f"1.2.826.0.1.3680043.{study}"
        dataset.SeriesInstanceUID = f"{dataset.StudyInstanceUID}.1"
        dataset.SOPInstanceUID = f"{dataset.SeriesInstanceUID}.{instance + 1}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.PatientID, dataset.AccessionNumber = f"P{study // 2:07d}", f"AC{study:08d}"
        dataset.InstanceNumber = instance + 1
        path = tree / f"{study // STUDIES_PER_FOLDER:04d}" / f"{study:07d}" / f"{instance}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        dcmwrite(path, dataset, enforce_file_format=True)


def make_header() -> FileDataset:
    """Return a radiograph of 32 x 32 pixels with the attributes of a real one (PS3.3 A.26), all invented."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.ImageType = ["ORIGINAL", "PRIMARY", ""]
    ds.SOPClassUID = meta.MediaStorageSOPClassUID
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20260131"
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = "081500"
    ds.Modality, ds.PresentationIntentType = "DX", "FOR PRESENTATION"
    ds.Manufacturer, ds.ManufacturerModelName = "Invented Imaging", "Model 1"
    ds.InstitutionName, ds.StationName = "Invented Hospital", "ROOM1"
    ds.ReferringPhysicianName, ds.OperatorsName = "Invented^Referrer", "Invented^Operator"
    ds.StudyDescription, ds.SeriesDescription = "XR chest", "PA"
    ds.ProcedureCodeSequence = Items([_code("36643-5", "LN", "XR Chest 2 Views")])
    ds.PatientName, ds.PatientBirthDate = "Invented^Patient", "19700101"
    ds.PatientSex, ds.PatientAge = "F", "056Y"
    ds.BodyPartExamined, ds.KVP, ds.DeviceSerialNumber, ds.SoftwareVersions = "CHEST", "120", "1", "1.0"
    ds.DistanceSourceToDetector, ds.ExposureTime, ds.XRayTubeCurrent, ds.Exposure = "1800", "10", "200", "2"
    ds.ImagerPixelSpacing = ["0.139", "0.139"]
    ds.FilterType, ds.Grid, ds.FocalSpots = "NONE", "FOCUSED", "1.2"
    ds.ViewPosition, ds.DetectorType, ds.DetectorID = "PA", "SCINTILLATOR", "1"
    ds.FieldOfViewShape, ds.FieldOfViewDimensions = "RECTANGLE", ["430", "430"]
    ds.StudyID, ds.SeriesNumber = "1", 1
    ds.PatientOrientation = ["L", "F"]
    ds.ViewCodeSequence = Items([_code("399348003", "SCT", "antero-posterior")])
    ds.AnatomicRegionSequence = Items([_code("51185008", "SCT", "Chest")])
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows = ds.Columns = 32
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.BurnedInAnnotation, ds.PixelIntensityRelationship, ds.PixelIntensityRelationshipSign = "NO", "LOG", 1
    ds.WindowCenter, ds.WindowWidth, ds.RescaleIntercept, ds.RescaleSlope = "2048", "4096", "0", "1"
    ds.RescaleType, ds.LossyImageCompression, ds.PresentationLUTShape = "US", "00", "IDENTITY"
    ds.add_new(0x7FE00010, "OW", np.arange(32 * 32, dtype="<u2").tobytes())
    return ds


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


if __name__ == "__main__":
    main()
