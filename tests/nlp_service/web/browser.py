"""Chromium as the tests and the screenshots drive it, and a service with reports for it to show."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.nlp_service.processes import Served

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
SIZES = {"desk": (1280, 900), "phone": (390, 844)}
REPORT = (
    "INDICATION: Cough.\n"
    "FINDINGS: Small left pleural effusion, unchanged. No pneumothorax. Possible right basilar pneumonia. "
    "8 mm nodule in the right upper lobe.\n"
    "IMPRESSION: Small left effusion. Possible pneumonia."
)
STORED = (
    ("R-1", "A-1", REPORT),
    (
        "R-2",
        "A-2",
        "FINDINGS: The heart is mildly enlarged. No effusion. Bibasilar atelectasis versus infiltrate.",
    ),
    ("R-3", "A-3", "FINDINGS: Calcified granuloma in the left lung. Degenerative changes of the spine. Clear lungs."),
    ("R-4", "A-3", "FINDINGS: No focal consolidation, effusion or pneumothorax. IMPRESSION: No acute disease."),
)


@contextmanager
def service_to_show(folder: Path) -> Iterator[Served]:
    """Run a service with the encoder, which keeps texts and has some reports stored."""
    settings = {
        "RADLABEL_READER": "encoder",
        "RADLABEL_LABEL_SETS": "chexpert14,nih14",
        "RADLABEL_KEEP_TEXTS_DAYS": "30",
    }
    service = Served(folder, environment=settings)
    service.start()
    try:
        reports = [{"report_id": r, "accession_number": a, "text": text} for r, a, text in STORED]
        status, _ = service.request("POST", "/v1/label", {"reports": reports, "store": True})
        assert status == 200
        yield service
    finally:
        service.stop()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def open_page(
    browser: Browser, service: Served, size: str, scheme: str = "light", expected: str | None = None
) -> Iterator[Page]:
    """Open the page in a window of a size; fail if it loads anything from elsewhere, or if its console complains of
    anything but what is expected.
    """
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.set_default_timeout(20_000)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    own = (service.url, f"blob:{service.url}")  # and what the page keeps in memory
    page.on("request", lambda asked: None if asked.url.startswith(own) else complaints.append(asked.url))
    page.goto(service.url)
    yield page
    context.close()
    assert [told for told in complaints if expected is None or expected not in told] == []


def write_reports(path: Path, number: int = 60) -> Path:
    """Write a file of reports, with one row that cannot be read."""
    with path.open("w", encoding="utf-8") as stream:
        for i in range(number):
            text = f"FINDINGS: Small left pleural effusion, {i + 5} mm. No pneumothorax."
            stream.write(json.dumps({"report_id": f"r{i}", "text": text}) + "\n")
        stream.write('{"report_id": "r0", "text": "again"}\n')
    return path
