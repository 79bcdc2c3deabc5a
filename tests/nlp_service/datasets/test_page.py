"""Data sets on the web page, in a real browser: asked for, followed, the card with its plots."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.nlp_service.datasets.making import MARK, studies, write_images, write_reports
from tests.nlp_service.processes import Served
from tests.nlp_service.web.browser import CHROMIUM, chromium, open_page
from tests.nlp_service.web.test_page import check_access

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: make peers")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Run a service with a hospital under its job folder."""
    folder = tmp_path_factory.mktemp("page")
    write_images(folder / "exports" / "dicom", studies(8))
    write_reports(folder / "exports" / "reports.csv", studies(8))
    with Served(folder, environment={"RADLABEL_JOB_ROOTS": str(folder / "exports")}) as served:
        yield served


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Run a browser."""
    with chromium() as started:
        yield started


@pytest.mark.parametrize("size", ["desk", "phone"])
def test_a_data_set_is_asked_for_and_its_card_is_shown(
    browser: Browser, service: Served, size: str, tmp_path: Path
) -> None:
    with open_page(browser, service, size, expected="422") as page:
        page.get_by_role("link", name="Data sets", exact=True).click()
        page.get_by_text("The last data sets").wait_for()
        check_access(page, "data sets")
        page.get_by_label("Images").fill("nowhere")
        page.get_by_label("Reports").fill("reports.csv")
        page.get_by_role("button", name="Build the data set").click()
        page.get_by_text("is not under a job folder").wait_for()
        page.get_by_label("Images").fill("dicom")
        page.get_by_label("Name").fill(f"chest at the {size}")
        page.get_by_label("Longest side in pixels").fill("64")
        page.get_by_role("button", name="Build the data set").click()
        page.get_by_role("heading", name=f"chest at the {size}").first.wait_for()
        page.get_by_role("button", name="Download the card").wait_for(timeout=60_000)
        card = page.get_by_role("region", name="Data card")
        card.get_by_role("heading", name="Splits").wait_for()
        expect(card.locator("img.plot")).to_have_count(9)
        for plot in card.locator("img.plot").all():
            assert plot.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
        check_access(page, "a data set with its card")
        assert MARK not in page.content()
        with page.expect_download() as download:
            page.get_by_role("button", name="Download the card").click()
        download.value.save_as(tmp_path / "card.html")
        assert (tmp_path / "card.html").read_text("utf-8").startswith("<!doctype html>")
        page.get_by_role("button", name="Delete").click()
        page.get_by_role("button", name="Delete the data set").click()
        page.get_by_text("The last data sets").wait_for()
        expect(page.get_by_role("link", name=f"chest at the {size}")).to_have_count(0)
