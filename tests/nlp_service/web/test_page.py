"""The web page in a real browser: what people do with it, at a desk and on a phone, and whether everybody can."""

from __future__ import annotations

import base64
import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from corpora.labeled import PersonLabeled, read_labeled
from tests.nlp_service.processes import Served
from tests.nlp_service.service.test_image_scores import png
from tests.nlp_service.web.browser import CHROMIUM, REPORT, chromium, open_page, service_to_show, write_reports

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: make peers")
SIZES = ("desk", "phone")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Run a service with some reports."""
    with service_to_show(tmp_path_factory.mktemp("web")) as served:
        yield served


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Run a browser."""
    with chromium() as started:
        yield started


@pytest.fixture(params=SIZES)
def page(request: pytest.FixtureRequest, browser: Browser, service: Served) -> Iterator[Page]:
    """Open the page at a desk and on a phone."""
    with open_page(browser, service, request.param) as opened:
        yield opened


def check_access(page: Page, state: str) -> None:
    """Hold what is shown against the rules of axe (WCAG 2 A and AA, and best practices)."""
    from axe_playwright_python.sync_playwright import Axe

    violations = Axe().run(page).response["violations"]
    told = [(v["id"], [n["target"] for n in v["nodes"]][:3]) for v in violations]
    assert told == [], f"{state}: {told}"
    width = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert width <= 0, f"{state}: the page is wider than its window"


def label_report(page: Page, text: str = REPORT) -> None:
    page.get_by_label("Report", exact=True).fill(text)
    page.get_by_role("button", name="Label the report").click()
    page.get_by_role("button", name="Change the report").wait_for()


def test_a_report_is_pasted_and_its_findings_are_shown(page: Page) -> None:
    check_access(page, "label, empty")
    label_report(page)
    marks = page.locator(".finding")
    expect(marks).to_have_count(6)
    # Colour is not the only sign: each kind has a mark of its own, and says its assertion to a screen reader.
    expect(page.get_by_role("button", name="pneumothorax: Pneumothorax, negative")).to_have_count(1)
    signs = page.evaluate(
        "[...document.querySelectorAll('.finding')].map((mark) => getComputedStyle(mark, '::before').content)"
    )
    assert len({sign for sign in signs if sign not in ("none", "normal")}) == 3
    check_access(page, "label, read")
    marks.nth(3).hover()
    page.locator(".detail").wait_for()
    check_access(page, "label, what is known of a finding")


def test_a_label_leads_to_its_evidence_and_back(page: Page) -> None:
    label_report(page)
    chexpert = page.locator("section.label-set", has=page.get_by_role("heading", name="chexpert14"))
    chexpert.get_by_role("button", name="Pleural Effusion").click()
    focused = page.evaluate("document.activeElement.textContent")
    assert "pleural effusion" in focused
    expect(page.locator(".finding.is-marked")).to_have_count(2)
    page.keyboard.press("ArrowRight")  # from finding to finding, by keyboard
    assert "pneumothorax" in page.evaluate("document.activeElement.textContent")
    page.keyboard.press("Enter")
    expect(chexpert.get_by_role("button", name="Pneumothorax")).to_have_class("label-row is-marked")


def test_a_file_is_uploaded_followed_and_fetched(page: Page, tmp_path: Path) -> None:
    page.get_by_role("link", name="Jobs", exact=True).click()
    page.get_by_text("Label a file").wait_for()
    check_access(page, "jobs")
    page.locator("#file").set_input_files(write_reports(tmp_path / "reports.jsonl"))
    page.get_by_role("button", name="Start the job").click()
    page.get_by_role("button", name="Download CSV").wait_for(timeout=60_000)
    expect(page.get_by_text("61 records")).to_be_visible()
    check_access(page, "job, done")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    assert download.value.suggested_filename == "reports-labels.csv"
    download.value.save_as(tmp_path / "labels.csv")
    with (tmp_path / "labels.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 60
    assert {row["chexpert14:Pleural Effusion"] for row in rows} == {"positive"}
    expect(page.get_by_text("First rejects").or_(page.get_by_text("The first rejects")).first).to_be_visible()
    page.get_by_role("link", name="All jobs").click()
    page.get_by_role("link", name="reports.jsonl").first.wait_for()
    check_access(page, "jobs, with some")
    page.get_by_role("link", name="reports.jsonl").first.click()
    page.get_by_role("button", name="Delete").click()
    check_access(page, "job, to be deleted")
    page.get_by_role("button", name="Delete the job").click()
    page.get_by_text("Label a file").wait_for()


def test_a_study_is_looked_up(page: Page) -> None:
    page.get_by_role("link", name="Studies").click()
    check_access(page, "studies")
    page.get_by_label("Accession number", exact=True).fill("A-3")
    page.get_by_role("button", name="Look up").click()
    expect(page.get_by_role("heading", name="2 reports")).to_be_visible()
    assert "A-3" not in page.url
    check_access(page, "studies, found")
    page.get_by_label("Accession number", exact=True).fill("A-99")
    page.get_by_role("button", name="Look up").click()
    page.get_by_text("Nothing is stored under these identifiers.").wait_for()


def test_image_scores_stand_beside_the_labels(page: Page, service: Served) -> None:
    report = {
        "report_id": "r-x",
        "text": "Small left pleural effusion. No pneumothorax. No cardiomegaly.",
        "accession_number": "X-1",
    }
    assert service.request("POST", "/v1/label", {"reports": [report], "store": True})[0] == 200
    scores = {"Pleural Effusion": 0.2, "Pneumothorax": 0.1, "Edema": 0.4, "Cardiomegaly": 0.05}
    image = {"image_id": "i-x", "accession_number": "X-1", "scores": scores}
    other = {**image, "image_id": "i-y", "accession_number_issuer": "PACS", "study_instance_uid": "1.2"}
    overlays = {"Pleural Effusion": base64.b64encode(png(side=64)).decode()}
    model = {"name": "chest", "version": "1", "digest": "ab" * 32, "label_set": "chexpert14"}
    thresholds = {"Pneumothorax": 0.08}
    sent = {"model": {**model, "thresholds": thresholds}, "images": [{**image, "overlays": overlays}, other]}
    assert service.request("POST", "/v1/studies/image-scores", sent)[0] == 201
    page.get_by_role("link", name="Studies").click()
    page.get_by_label("Accession number", exact=True).fill("X-1")
    page.get_by_role("button", name="Look up").click()
    expect(page.get_by_role("heading", name="1 report, 2 scored images")).to_be_visible()
    table = page.get_by_role("region", name="Scores of image i-x")
    rows = [" ".join(text.split()) for text in table.locator("tbody tr").all_inner_texts()]
    assert rows == [
        "Edema not mentioned 0.40 0.50",
        "Pleural Effusion + present 0.20 0.50 disagree",
        "Pneumothorax \N{MINUS SIGN} absent 0.10 0.08 disagree",
        "Cardiomegaly \N{MINUS SIGN} absent 0.05 0.50 agree",
    ]
    page.locator(".image-scores").get_by_role("button", name="Pleural Effusion").click()
    picture = page.get_by_role("img", name="Where the model sees Pleural Effusion in image i-x")
    expect(picture).to_be_visible()
    assert picture.evaluate("async (image) => (await image.decode(), image.naturalWidth)") == 64
    check_access(page, "studies, with images")


def test_an_image_of_a_number_that_two_patients_have_stands_with_no_report(page: Page, service: Served) -> None:
    reports = [
        {"report_id": f"r-{patient}", "text": "No effusion.", "accession_number": "X-2", "patient_id": patient}
        for patient in ("P1", "P2")
    ]
    assert service.request("POST", "/v1/label", {"reports": reports, "store": True})[0] == 200
    sent = {
        "model": {"name": "chest", "version": "1", "digest": "ab" * 32},
        "images": [{"image_id": "i-z", "accession_number": "X-2", "scores": {"Edema": 0.4}}],
    }
    assert service.request("POST", "/v1/studies/image-scores", sent)[0] == 201
    page.get_by_role("link", name="Studies").click()
    page.get_by_label("Accession number", exact=True).fill("X-2")
    page.get_by_role("button", name="Look up").click()
    expect(page.get_by_role("heading", name="2 reports, 1 scored image")).to_be_visible()
    expect(page.get_by_role("region", name="Scores of image i-z")).to_have_count(1)
    stray = page.get_by_role("region", name="Images without a report")
    expect(stray.get_by_role("region", name="Scores of image i-z")).to_be_visible()


def test_labels_and_model_are_explained(page: Page) -> None:
    page.get_by_role("link", name="Labels", exact=True).click()
    page.get_by_label("Search names and synonyms").fill("collapsed lung")
    check_access(page, "labels")
    page.get_by_role("link", name="API", exact=True).click()
    page.get_by_text("/v1/label", exact=False).first.wait_for()
    check_access(page, "API")
    page.get_by_role("link", name="Model", exact=True).click()
    page.get_by_text("Not a medical device", exact=False).first.wait_for()
    check_access(page, "model")


def test_a_bad_request_is_told_in_words(page: Page) -> None:
    page.get_by_label("Report", exact=True).fill("x")
    while page.locator("[name=label_set]:checked").count():
        page.locator("[name=label_set]:checked").first.uncheck()
    page.get_by_role("button", name="Label the report").click()
    expect(page.get_by_role("alert")).to_contain_text("No label set is chosen")
    check_access(page, "label, a problem")


def test_dark_colours_have_contrast_too(browser: Browser, service: Served) -> None:
    with open_page(browser, service, "desk", "dark") as page:
        label_report(page)
        check_access(page, "label, dark")
        for view in ("Jobs", "Studies", "Review", "Labels", "API", "Model"):
            page.get_by_role("link", name=view, exact=True).click()
            page.get_by_role("heading", name=view).first.wait_for()
            page.wait_for_load_state("networkidle")
            check_access(page, f"{view}, dark")


def test_the_review_can_be_used_by_all(page: Page) -> None:
    page.get_by_role("link", name="Review").click()
    page.get_by_role("heading", name="Report R-").first.wait_for()
    check_access(page, "review")
    page.keyboard.press("u")
    check_access(page, "review, a correction")
    page.get_by_role("button", name="Skip", exact=True).click()
    page.get_by_role("button", name="Back", exact=True).click()
    check_access(page, "review, back again")


def test_a_key_is_asked_for_where_one_is_needed(browser: Browser, tmp_path: Path) -> None:
    environment = {**os.environ, "RADLABEL_DATA_DIR": str(tmp_path)}
    made = subprocess.run(
        [sys.executable, "-m", "nlp_service", "keys", "create", "page", "--scope", "label"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    token = made.stdout.strip()
    with Served(tmp_path, environment={"RADLABEL_REQUIRE_KEYS": "true"}) as service:
        for size in SIZES:
            with open_page(browser, service, size, expected="401") as page:
                field = page.get_by_role("dialog").locator("input").first
                field.wait_for()
                check_access(page, "key")
                field.fill(token)
                page.keyboard.press("Enter")
                label_report(page)
                assert token not in page.url
                assert page.evaluate("window.localStorage.length") == 0


def test_reviews_are_stored_and_exported(browser: Browser, service: Served, tmp_path: Path) -> None:
    """The last test of the module: it empties the queue."""
    with open_page(browser, service, "desk") as page:
        page.get_by_role("link", name="Review").click()
        page.get_by_label("Your name, stored with what you decide").fill("reader 1")
        page.get_by_role("heading", name="Report R-").first.wait_for()
        queue = service.get("/v1/review")["reports"]
        urgency = [(item["doubt"] or 0) + (item["disagreement"] or 0) for item in queue]
        assert urgency == sorted(urgency, reverse=True)
        wrong = queue[0]
        expect(page.get_by_role("heading", name=f"Report {wrong['report_id']}", exact=True)).to_be_visible()
        page.locator(".review-stage").click(position={"x": 2, "y": 2})
        page.keyboard.press("m")  # the least certain label: not mentioned
        page.keyboard.press("a")
        expect(page.get_by_role("heading", name=f"Report {queue[1]['report_id']}", exact=True)).to_be_visible()
        page.keyboard.press("a")
        page.get_by_text("Accepted.").wait_for()
    assert service.get("/v1/review")["open"] == len(queue) - 2

    output = tmp_path / "reviewed.jsonl"
    command = [sys.executable, "-m", "nlp_service", "review", "export"]
    environment = {**os.environ, "RADLABEL_DATA_DIR": str(service.folder)}
    subprocess.run([*command, str(output)], env=environment, check=True, capture_output=True)
    reviewed = {row["report_id"]: row for row in map(json.loads, output.read_text().splitlines())}
    assert set(reviewed) == {wrong["report_id"], queue[1]["report_id"]}
    said = reviewed[wrong["report_id"]]["labels"]
    corrected = [label for label in said if label["value"] != label["given"]]
    assert {label["reviewer"] for label in said} == {"reader 1"}
    assert all(label["reviewed_at"] for label in said)
    given = wrong["labels"][wrong["doubtful"]["label_set"]][wrong["doubtful"]["label"]]["value"]
    assert len(corrected) == (1 if given is not None else 0)
    table = tmp_path / "reviewed.csv"
    subprocess.run([*command, str(table), "--label-set", "nih14"], env=environment, check=True, capture_output=True)
    # What trains a model reads it: every row with its text, and what was said of a label.
    labeled = list(read_labeled(table, {"Effusion": "Effusion", "Pneumothorax": "Pneumothorax"}))
    assert {row.report.report_id for row in labeled if isinstance(row, PersonLabeled)} == set(reviewed)
    assert all(row.report.text for row in labeled if isinstance(row, PersonLabeled))
