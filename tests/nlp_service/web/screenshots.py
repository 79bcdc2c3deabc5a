"""Takes the pictures of docs/web-page.md anew (`make screenshots`). All reports in them are invented."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page

from tests.nlp_service.datasets.making import studies, write_images
from tests.nlp_service.datasets.making import write_reports as write_study_reports
from tests.nlp_service.processes import Served
from tests.nlp_service.web.browser import REPORT, chromium, open_page, service_to_show, write_reports


def main(folder: Path) -> None:
    """Write the pictures into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as data, service_to_show(Path(data)) as service, chromium() as browser:
        for size in ("desk", "phone"):
            with open_page(browser, service, size) as page:
                _label(page)
                page.screenshot(path=folder / f"web-label-{size}.png")
        with open_page(browser, service, "desk") as page:
            page.get_by_role("link", name="Jobs", exact=True).click()
            page.locator("#file").set_input_files(write_reports(Path(data) / "reports.jsonl"))
            page.get_by_role("button", name="Start the job").click()
            page.get_by_role("button", name="Download CSV").wait_for(timeout=60_000)
            page.screenshot(path=folder / "web-job.png")
            page.get_by_role("link", name="Review").click()
            page.get_by_role("heading", name="Report R-").first.wait_for()
            page.screenshot(path=folder / "web-review.png")
    take_dataset(folder)


def take_dataset(folder: Path) -> None:
    """Write the picture of a data set, which a service of its own builds from an invented hospital."""
    with tempfile.TemporaryDirectory() as data:
        exports = Path(data) / "exports"
        write_images(exports / "dicom", studies(60))
        write_study_reports(exports / "reports.csv", studies(60))
        settings = {"RADLABEL_JOB_ROOTS": str(exports), "RADLABEL_READER": "encoder"}
        with (
            Served(Path(data), environment=settings) as service,
            chromium() as browser,
            open_page(browser, service, "desk") as page,
        ):
            page.get_by_role("link", name="Data sets", exact=True).click()
            page.get_by_label("Images").fill("dicom")
            page.get_by_label("Reports").fill("reports.csv")
            page.get_by_label("Name").fill("chest-2026")
            page.get_by_role("button", name="Build the data set").click()
            page.get_by_role("button", name="Download the card").wait_for(timeout=120_000)
            card = page.get_by_role("region", name="Data card")
            card.locator("img.plot").first.wait_for()
            page.get_by_role("heading", name="Splits").scroll_into_view_if_needed()
            page.evaluate("window.scrollBy(0, 500)")
            page.screenshot(path=folder / "web-dataset.png")


def _label(page: Page) -> None:
    page.get_by_label("Report", exact=True).fill(REPORT)
    page.get_by_role("button", name="Label the report").click()
    page.get_by_role("button", name="Change the report").wait_for()
    page.locator(".finding").nth(3).hover()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images"))
