"""A real PACS: Orthanc with its DICOMweb plug-in, as a process of its own on free loopback ports."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
from base64 import b64encode
from pathlib import Path
from typing import Any, Self

import pytest

from tests.nlp_service.processes import free_port

PLUGINS = Path("/usr/share/orthanc/plugins")
USER, PASSWORD = "reader", "pässword"
READY_S = 60
_MISSING = [
    what
    for what, is_there in (
        ("Orthanc", shutil.which("Orthanc") is not None),
        ("its DICOMweb plug-in", any(PLUGINS.glob("libOrthancDicomWeb*"))),
        ("DCMTK's storescu", shutil.which("storescu") is not None),
    )
    if not is_there
]
needs_orthanc = pytest.mark.skipif(bool(_MISSING), reason=f"not installed: {', '.join(_MISSING)} (make peers)")


class Orthanc:
    """A server with one user, and a storage that is emptied with its folder."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.http_port, self.dicom_port = free_port(), free_port()
        self._log = folder / "orthanc.log"
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where DICOMweb begins."""
        return f"http://127.0.0.1:{self.http_port}/dicom-web"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        configuration = self.folder / "orthanc.json"
        configuration.write_text(json.dumps(self._configuration()), encoding="utf-8")
        with self._log.open("ab") as stream:
            self._process = subprocess.Popen(["Orthanc", str(configuration)], stdout=stream, stderr=stream)
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def _wait(self) -> None:
        deadline = time.monotonic() + READY_S
        while True:
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Orthanc did not start: {self._log.read_text(errors='replace')[-3000:]}")
            try:
                self.ask("/system")
            except OSError:
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """End the server, by force if it takes too long."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def ask(self, path: str) -> Any:
        """Return what the REST interface of Orthanc itself answers."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}{path}")
        request.add_header("Authorization", "Basic " + b64encode(f"{USER}:{PASSWORD}".encode()).decode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def send(self, folder: Path) -> None:
        """Send all files of a folder with DCMTK's storescu, as a modality would."""
        command = ["storescu", "--scan-directories", "--recurse", "--call", "ORTHANC", "127.0.0.1"]
        subprocess.run([*command, str(self.dicom_port), str(folder)], check=True, capture_output=True, timeout=300)

    def upload(self, file: Path) -> None:
        """Give one file to the REST interface, in whatever transfer syntax it is."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.http_port}/instances", file.read_bytes())
        request.add_header("Authorization", "Basic " + b64encode(f"{USER}:{PASSWORD}".encode()).decode())
        urllib.request.urlopen(request, timeout=30).close()

    def _configuration(self) -> dict[str, Any]:
        storage = self.folder / "storage"
        return {
            "Name": "radlabel tests",
            "StorageDirectory": str(storage),
            "IndexDirectory": str(storage),
            "StorageCompression": False,
            "Plugins": [str(next(PLUGINS.glob("libOrthancDicomWeb*")))],
            "HttpPort": self.http_port,
            "DicomPort": self.dicom_port,
            "DicomAet": "ORTHANC",
            "DicomAlwaysAllowStore": True,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": True,
            "RegisteredUsers": {USER: PASSWORD},
            "OverwriteInstances": True,
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
            **self._settings,
        }
