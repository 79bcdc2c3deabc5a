"""Takes the pictures of docs/web-page.md anew (`make screenshots`). All reports in them are invented."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page

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


def _label(page: Page) -> None:
    page.get_by_label("Report", exact=True).fill(REPORT)
    page.get_by_role("button", name="Label the report").click()
    page.get_by_role("button", name="Change the report").wait_for()
    page.locator(".finding").nth(3).hover()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images"))
