"""Who may call the service, from where, and what a browser and a log are told."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nlp_service.settings import ServiceSettings, SettingsInvalid
from tests.nlp_service.processes import Served

BODY = {"reports": [{"report_id": "r", "text": "No effusion."}]}


def radlabel(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "RADLABEL_DATA_DIR": str(folder)}
    return subprocess.run(
        [sys.executable, "-m", "nlp_service", *arguments], env=environment, capture_output=True, text=True, check=True
    )


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Run a service that asks for keys."""
    with Served(tmp_path_factory.mktemp("keys"), environment={"RADLABEL_REQUIRE_KEYS": "true"}) as served:
        yield served


def status_of(service: Served, method: str, path: str, body: object = None, **headers: str) -> int:
    return service.request(method, path, body, **headers)[0]


def test_keys_open_what_their_scopes_say_and_nothing_once_revoked(guarded: Served) -> None:
    made = {
        scope: radlabel(guarded.folder, "keys", "create", scope, "--scope", scope)
        for scope in ("label", "jobs", "admin")
    }
    tokens = {scope: process.stdout.strip() for scope, process in made.items()}
    asked = (
        ("label", "POST", "/v1/label", BODY),
        ("jobs", "GET", "/v1/jobs", None),
        ("admin", "GET", "/v1/audit", None),
    )
    for scope, method, path, body in asked:
        for name, token in tokens.items():
            wanted = 200 if name == scope else 403
            assert status_of(guarded, method, path, body, Authorization=f"Bearer {token}") == wanted, (name, path)
        assert status_of(guarded, method, path, body) == 401
        assert status_of(guarded, method, path, body, Authorization="Bearer rl_guess") == 401
    for path in ("/healthz", "/readyz", "/metrics", "/"):
        assert status_of(guarded, "GET", path) == 200
    stored = b"".join(file.read_bytes() for file in guarded.folder.glob("radlabel.db*"))
    assert not any(token.encode() in stored for token in tokens.values())  # digests alone
    listed = radlabel(guarded.folder, "keys", "list").stdout
    key_id = next(line.split()[0] for line in listed.splitlines() if " label " in line)
    radlabel(guarded.folder, "keys", "revoke", key_id)
    deadline = time.monotonic() + 8
    while status_of(guarded, "POST", "/v1/label", BODY, Authorization=f"Bearer {tokens['label']}") == 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    entries = json.loads(guarded.request("GET", "/v1/audit", Authorization=f"Bearer {tokens['admin']}")[1])["entries"]
    assert key_id in {entry["key_id"] for entry in entries}


def test_pages_from_elsewhere_get_nothing(guarded: Served) -> None:
    assert status_of(guarded, "POST", "/v1/label", BODY, Origin="https://evil.example") == 403
    assert status_of(guarded, "GET", "/healthz", Host="evil.example") == 421
    request = urllib.request.Request(f"{guarded.url}/", headers={"Origin": "https://evil.example"})
    with urllib.request.urlopen(request) as answer:
        headers = {name.lower(): value for name, value in answer.headers.items()}
    assert "access-control-allow-origin" not in headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert (headers["x-frame-options"], headers["x-content-type-options"]) == ("DENY", "nosniff")


def test_beyond_this_machine_keys_are_asked_for() -> None:
    assert ServiceSettings(host="0.0.0.0").needs_keys
    assert not ServiceSettings(host="127.0.0.1").needs_keys
    assert not ServiceSettings(host="::1").needs_keys
    assert not ServiceSettings(host="0.0.0.0", require_keys=False).needs_keys


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"port": 70_000}, "RADLABEL_PORT"),
        ({"tls_certificate": "cert.pem"}, "tls_key"),
        ({"label_sets": ()}, "label_sets"),
        ({"executor": "no spaces"}, "RADLABEL_EXECUTOR"),
    ],
)
def test_a_setting_that_cannot_be_is_named(given: dict[str, object], named: str) -> None:
    with pytest.raises(SettingsInvalid, match=named):
        ServiceSettings.load(**given)


def test_https_is_served_with_a_certificate(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = [
        openssl,
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-keyout",
        str(key),
        "-out",
        str(certificate),
    ]
    subprocess.run([*made, *subject], check=True, capture_output=True)
    settings = {"RADLABEL_TLS_CERTIFICATE": str(certificate), "RADLABEL_TLS_KEY": str(key)}
    service = Served(tmp_path, environment=settings)
    service.start(wait=False)
    service.wait_for_event("ready")
    context = ssl.create_default_context(cafile=str(certificate))
    with urllib.request.urlopen(f"https://127.0.0.1:{service.port}/healthz", context=context) as answer:
        assert answer.headers["Strict-Transport-Security"]
    assert service.stop() == 0


def test_a_stop_finishes_what_is_under_way(tmp_path: Path) -> None:
    service = Served(tmp_path)
    service.start()
    reports = [{"report_id": f"r{i}", "text": f"Small effusion, {i} mm. Nodule of {i} cm."} for i in range(1000)]
    answers: list[tuple[int, bytes]] = []
    thread = threading.Thread(target=lambda: answers.append(service.request("POST", "/v1/label", {"reports": reports})))
    thread.start()
    time.sleep(0.2)
    assert service.stop() == 0
    thread.join()
    assert answers[0][0] == 200
    assert len(json.loads(answers[0][1])["results"]) == 1000


def test_a_full_queue_is_told_with_when_to_come_again(tmp_path: Path) -> None:
    with Served(tmp_path, environment={"RADLABEL_MAX_WAITING_REPORTS": "50"}) as service:
        reports = [{"report_id": f"r{i}", "text": f"Small effusion, {i} mm. Nodule of {i} cm."} for i in range(300)]

        def ask(_: int) -> tuple[int, str | None]:
            request = urllib.request.Request(f"{service.url}/v1/label", json.dumps({"reports": reports}).encode())
            request.add_header("Content-Type", "application/json")
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    return answer.status, None
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, error.headers["Retry-After"]

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(ask, range(8)))
    assert (200, None) in answers
    refused = [retry for status, retry in answers if status == 429]
    assert refused
    assert all(retry is not None and 1 <= int(retry) <= 60 for retry in refused)


def test_the_log_has_routes_and_no_query(tmp_path: Path) -> None:
    with Served(tmp_path) as service:
        service.request("GET", "/v1/vocabulary?q=zebrafish")
        service.request("GET", "/v1/jobs/zebrafish?accession=zebrafish")
        service.request("GET", "/zebrafish")
    lines = [json.loads(line) for line in service.log.read_text().splitlines()]
    assert "zebrafish" not in service.log.read_text()
    assert {"/v1/vocabulary", "/v1/jobs/{job_id}"} <= {line.get("route") for line in lines}
    assert all({"time", "level", "event"} <= set(line) for line in lines)
