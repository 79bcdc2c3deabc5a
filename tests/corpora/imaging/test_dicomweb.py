"""An index of a real Orthanc: the same as that of its files, and what happens when it is not well."""

from __future__ import annotations

import csv
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from pydicom import dcmread
from pydicom.uid import EnhancedSRStorage

from corpora.errors import SourceUnreadable
from corpora.imaging.dicom_folder import index_folder
from corpora.imaging.dicomweb import index_dicomweb
from corpora.imaging.index_table import IndexInfo, read_index, read_info, unreadable_path
from corpora.imaging.pictures import Pictures
from corpora.imaging.server import Access, Retries
from corpora.linking import link_files
from tests.corpora.imaging.making import make_dataset, write
from tests.corpora.imaging.orthanc import PASSWORD, USER, Orthanc, needs_orthanc
from tests.corpora.imaging.wire import Wire

ACCESS = Access(USER, PASSWORD)
AT_ONCE = Retries(attempts=2, wait_s=0.01, timeout_s=20)
# What a server does not say, or says otherwise.
OF_FILES = ["source", "file", "size_bytes", "modified_ns", "transfer_syntax_uid"]

pytestmark = needs_orthanc


def rows_of(index: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_index(index).drop_columns(OF_FILES).to_pylist()
    return sorted(rows, key=lambda row: str(row["image_id"]))


@pytest.fixture(scope="module")
def folder_index(radiographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    index = tmp_path_factory.mktemp("index") / "folder.parquet"
    index_folder(radiographs, index)
    return index


def test_index_over_dicomweb_is_that_of_the_folder(pacs: Orthanc, folder_index: Path, tmp_path: Path) -> None:
    index = tmp_path / "web.parquet"
    info = index_dicomweb(pacs.url, index, access=ACCESS, studies_per_page=7)
    assert info.images == info.seen == read_info(folder_index).images
    assert rows_of(index) == rows_of(folder_index)
    assert not (tmp_path / "web.parquet.parts").exists()
    assert PASSWORD.encode() not in index.read_bytes()
    assert set(read_index(index)["source"].to_pylist()) == {"dicomweb"}


def test_query_restricts_the_index(pacs: Orthanc, folder_index: Path, tmp_path: Path) -> None:
    index = tmp_path / "web.parquet"
    dates = sorted(str(row["study_date"]) for row in rows_of(folder_index))
    middle = dates[len(dates) // 2]
    index_dicomweb(pacs.url, index, access=ACCESS, query={"StudyDate": f"{middle.replace('-', '')}-"})
    assert rows_of(index) == [row for row in rows_of(folder_index) if str(row["study_date"]) >= middle]
    index_dicomweb(pacs.url, index, access=ACCESS, query={"PatientID": "nobody"})
    assert read_info(index).seen == 0


def test_pixels_over_dicomweb_are_those_of_the_files(pacs: Orthanc, folder_index: Path, tmp_path: Path) -> None:
    index_dicomweb(pacs.url, tmp_path / "web.parquet", access=ACCESS)
    on_server = {row["image_id"]: row for row in read_index(tmp_path / "web.parquet").to_pylist()}
    web = read_info(tmp_path / "web.parquet")
    with Pictures(read_info(folder_index)) as files, Pictures(web, access=ACCESS) as server:
        for row in read_index(folder_index).to_pylist():
            here, there = files.read(row), server.read(on_server[row["image_id"]])
            assert np.array_equal(here.pixels, there.pixels)
            assert 0 <= here.pixels.min() < here.pixels.max() <= 1
            assert (here.view, here.placement) == (there.view, there.placement)


def test_whole_objects_over_dicomweb_are_those_of_the_files(
    pacs: Orthanc, folder_index: Path, radiographs: Path, tmp_path: Path
) -> None:
    index_dicomweb(pacs.url, tmp_path / "web.parquet", access=ACCESS)
    files = dict(zip(*(read_index(folder_index)[name].to_pylist() for name in ("image_id", "file")), strict=True))
    with Pictures(read_info(tmp_path / "web.parquet"), access=ACCESS) as server:
        for row in read_index(tmp_path / "web.parquet").to_pylist()[:3]:
            assert server.dataset(row) == dcmread(radiographs / files[row["image_id"]])
    gone = f"studies/1.2/series/1.2/instances/{row['sop_instance_uid']}"
    with Pictures(read_info(tmp_path / "web.parquet"), access=ACCESS, retries=AT_ONCE) as server:
        with pytest.raises(SourceUnreadable, match="answers with status 404") as caught:
            server.read({**row, "file": gone})
        assert row["sop_instance_uid"] not in str(caught.value)


def test_reports_link_to_the_same_images_in_both_indexes(
    pacs: Orthanc, folder_index: Path, data_folder: Path, tmp_path: Path
) -> None:
    reports = data_folder / "covid_cxr" / "reports.csv"
    index_dicomweb(pacs.url, tmp_path / "web.parquet", access=ACCESS)
    link_files(reports, folder_index, tmp_path / "from_folder")
    link_files(reports, tmp_path / "web.parquet", tmp_path / "from_server")
    one, other = (
        pq.read_table(tmp_path / name / "linked.parquet", columns=["report_id", "image_id", "accession_number"])
        for name in ("from_folder", "from_server")
    )
    pairs = {tuple(row.values()) for row in one.to_pylist()}
    assert pairs == {tuple(row.values()) for row in other.to_pylist()}
    with reports.open(encoding="utf-8", newline="") as stream:
        reported = {row["accession"] for row in csv.DictReader(stream)}
    indexed = [row for row in read_index(folder_index).to_pylist() if row["accession_number"] in reported]
    assert len(pairs) == len(indexed) > 0
    assert {image_id for _, image_id, _ in pairs} == {row["image_id"] for row in indexed}


def test_wrong_password_is_told_and_not_quoted(pacs: Orthanc, tmp_path: Path) -> None:
    for access in (Access(USER, "wrong-SECRET"), Access(token="wrong-SECRET"), None):
        with pytest.raises(SourceUnreadable, match="answers with status 401") as caught:
            index_dicomweb(pacs.url, tmp_path / "web.parquet", access=access, retries=AT_ONCE)
        assert "SECRET" not in str(caught.value)
        assert "RADLABEL_DICOMWEB_USER" in str(caught.value)
    assert not (tmp_path / "web.parquet").exists()


def test_address_that_is_no_dicomweb_is_told(pacs: Orthanc, tmp_path: Path) -> None:
    root = pacs.url.removesuffix("/dicom-web")
    with pytest.raises(SourceUnreadable, match="where DICOMweb begins"):
        index_dicomweb(root, tmp_path / "web.parquet", access=ACCESS, retries=AT_ONCE)
    # A page of something else, with status 200.
    with pytest.raises(SourceUnreadable, match=r"does not answer as DICOMweb|status"):
        index_dicomweb(f"{root}/app", tmp_path / "web.parquet", access=ACCESS, retries=AT_ONCE)


@pytest.mark.parametrize(
    "url", ["ftp://pacs", "pacs.example/dicom-web", "http://u:p@pacs/dicom-web", "http://pacs/dicom-web?token=1"]
)
def test_addresses_that_cannot_be_used_are_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadable, match="address"):
        index_dicomweb(url, tmp_path / "web.parquet")


@pytest.fixture
def wire(pacs: Orthanc) -> Iterator[Wire]:
    with Wire(pacs) as made:
        yield made


def index_over(wire: Wire, index: Path, **options: Any) -> IndexInfo:
    options = {"studies_per_page": 5, "connections": 1, **options}
    return index_dicomweb(wire.url, index, access=ACCESS, retries=AT_ONCE, **options)


def test_run_that_was_cut_off_goes_on_where_it_stopped(wire: Wire, folder_index: Path, tmp_path: Path) -> None:
    index = tmp_path / "web.parquet"
    wire.cut_after = 15  # two pages of studies, and some of the third
    with pytest.raises(SourceUnreadable, match="cannot be reached") as caught:
        index_over(wire, index)
    assert "studies" not in str(caught.value)
    assert not index.exists()
    read_before = {path for path in wire.paths if path.endswith("/metadata")}
    wire.cut_after, wire.paths = None, []
    index_over(wire, index, resume=True)
    assert rows_of(index) == rows_of(folder_index)
    # The studies of the two pages that were done were not asked for again.
    again = [path for path in wire.paths if path in read_before]
    assert len(read_before) - len(again) >= 10
    assert [path.name for path in tmp_path.iterdir() if "part" in path.name] == []


def test_run_that_is_not_resumed_starts_anew(wire: Wire, folder_index: Path, tmp_path: Path) -> None:
    index = tmp_path / "web.parquet"
    wire.cut_after = 15
    with pytest.raises(SourceUnreadable):
        index_over(wire, index)
    wire.cut_after, wire.paths = None, []
    index_over(wire, index)
    assert rows_of(index) == rows_of(folder_index)
    studies = {str(row["study_instance_uid"]) for row in rows_of(index)}
    assert sum(path.endswith("/metadata") for path in wire.paths) == len(studies)


def test_run_that_is_stopped_waits_for_no_retries(wire: Wire, tmp_path: Path) -> None:
    wire.answers = {"/metadata": 503}
    waits = Retries(attempts=5, wait_s=600, timeout_s=20)
    main = threading.get_ident()

    def stop() -> None:
        while sum(path.endswith("/metadata") for path in wire.paths) < 2:
            time.sleep(0.01)
        time.sleep(0.3)  # by now all wait: the connections for their next try, and the main thread for them
        # To that thread: another one may take a signal to the process, and then nothing wakes the one that waits.
        signal.pthread_kill(main, signal.SIGINT)

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(KeyboardInterrupt):
        index_dicomweb(wire.url, tmp_path / "web.parquet", access=ACCESS, retries=waits)
    stopper.join()


def test_pages_of_another_server_are_not_mixed_in(wire: Wire, pacs: Orthanc, tmp_path: Path) -> None:
    index = tmp_path / "web.parquet"
    wire.cut_after = 15
    with pytest.raises(SourceUnreadable):
        index_over(wire, index)
    with pytest.raises(SourceUnreadable, match="begun with another server"):
        index_dicomweb(pacs.url, index, access=ACCESS, resume=True)
    with pytest.raises(SourceUnreadable, match="or query"):
        index_dicomweb(wire.url, index, access=ACCESS, resume=True, query={"Modality": "CR"})


def test_busy_server_is_asked_again(wire: Wire, folder_index: Path, tmp_path: Path) -> None:
    index = tmp_path / "web.parquet"
    wire.answers = {"/metadata": 503}

    def get_well() -> None:
        wire.answers = {}

    timer = threading.Timer(0.3, get_well)
    timer.start()
    try:
        patient = Retries(attempts=8, wait_s=0.05, timeout_s=20)
        index_dicomweb(wire.url, index, access=ACCESS, retries=patient)
    finally:
        timer.cancel()
    assert rows_of(index) == rows_of(folder_index)
    wire.answers = {"limit": 503}
    with pytest.raises(SourceUnreadable, match="status 503, tried 2 times"):
        index_over(wire, tmp_path / "other.parquet")


def test_study_that_the_server_fails_to_give_is_listed(wire: Wire, folder_index: Path, tmp_path: Path) -> None:
    index = tmp_path / "web.parquet"
    broken = str(rows_of(folder_index)[0]["study_instance_uid"])
    wire.answers = {f"{broken}/metadata": 500}
    info = index_over(wire, index)
    assert info.unreadable == 1
    assert rows_of(index) == [row for row in rows_of(folder_index) if row["study_instance_uid"] != broken]
    assert "status 500" in unreadable_path(index).read_text(encoding="utf-8")
    # But not one after the other: then it is the server that is not well.
    wire.answers = {"/metadata": 500}
    with pytest.raises(SourceUnreadable, match="status 500"):
        index_over(wire, tmp_path / "other.parquet")


def test_server_that_gives_the_same_page_for_ever_is_found_out(wire: Wire, tmp_path: Path) -> None:
    wire.ignores_offset = True
    with pytest.raises(SourceUnreadable, match="same studies for every page"):
        index_over(wire, tmp_path / "web.parquet")


def test_server_that_stops_half_way_is_told(radiographs: Path, tmp_path: Path) -> None:
    with Orthanc(tmp_path) as orthanc:
        for number in range(12):
            orthanc.upload(write(tmp_path / "made" / f"{number}.dcm", make_dataset()))
        seen: list[int] = []

        def stop_after_the_first_page(progress: Any) -> None:
            seen.append(progress.images)
            orthanc.stop()

        index = tmp_path / "web.parquet"
        with pytest.raises(SourceUnreadable, match="cannot be reached"):
            index_dicomweb(
                orthanc.url,
                index,
                access=ACCESS,
                retries=AT_ONCE,
                studies_per_page=4,
                on_progress=stop_after_the_first_page,
            )
        assert seen == [4]
        orthanc.start()
        info = index_dicomweb(orthanc.url, index, access=ACCESS, resume=True, studies_per_page=4)
    assert info.images == 12


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_server_with_a_certificate_of_its_own_is_trusted_only_if_told(pacs: Orthanc, tmp_path: Path) -> None:
    key, certificate, both = (tmp_path / name for name in ("key.pem", "certificate.pem", "both.pem"))
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    index = tmp_path / "web.parquet"
    told = replace(ACCESS, ca_file=str(certificate))
    with Wire(pacs, certificate=both) as wire:
        with pytest.raises(SourceUnreadable, match="cannot be trusted: RADLABEL_DICOMWEB_CA_FILE"):
            index_dicomweb(wire.url, index, access=ACCESS, retries=AT_ONCE)
        with pytest.raises(SourceUnreadable, match=r"nowhere\.pem: there is no such file"):
            index_dicomweb(wire.url, index, access=replace(ACCESS, ca_file=str(tmp_path / "nowhere.pem")))
        assert not index.exists()
        info = index_dicomweb(wire.url, index, access=told)
        assert info.root.startswith("https://")
        with Pictures(info, access=told) as pictures:
            assert pictures.read(read_index(index).to_pylist()[0]).pixels.size


def test_objects_that_are_no_images_are_counted(tmp_path: Path) -> None:
    report = make_dataset(PixelData=None, Rows=None, Columns=None)
    report.SOPClassUID = report.file_meta.MediaStorageSOPClassUID = EnhancedSRStorage
    with Orthanc(tmp_path) as orthanc:
        orthanc.upload(write(tmp_path / "made" / "sr.dcm", report))
        orthanc.upload(write(tmp_path / "made" / "no_rows.dcm", make_dataset(Rows=None)))
        orthanc.upload(write(tmp_path / "made" / "good.dcm", make_dataset()))
        info = index_dicomweb(orthanc.url, tmp_path / "web.parquet", access=ACCESS)
    assert (info.seen, info.images, info.not_images, info.unreadable) == (3, 1, 1, 1)
    assert "Rows is missing" in unreadable_path(tmp_path / "web.parquet").read_text(encoding="utf-8")
