"""The running service held against its own OpenAPI document, by requests that schemathesis makes up.

Some 1,000 cases; `RADLABEL_FULL=1` makes more than 3,000.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.nlp_service.processes import Served

IS_FULL = os.environ.get("RADLABEL_FULL") == "1"
# A request can have the form that the document asks for and still name a label set, a path or a resource that there is
# not: that is refused, and no document can say so.
NOT_CHECKED = "positive_data_acceptance"


def test_the_service_keeps_to_its_document(tmp_path: Path) -> None:
    data = tmp_path / "data"
    environment = {**os.environ, "RADLABEL_DATA_DIR": str(data)}
    scopes = [part for scope in ("label", "jobs", "admin") for part in ("--scope", scope)]
    command = [sys.executable, "-m", "nlp_service", "keys", "create", "tests", *scopes]
    made = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    with Served(data, environment={"RADLABEL_REQUIRE_KEYS": "true"}) as service:
        options = [
            *("--header", f"Authorization: Bearer {made.stdout.strip()}"),
            *("--checks", "all", "--exclude-checks", NOT_CHECKED, "--warnings", "off"),
            *("--max-examples", "150" if IS_FULL else "10", "--seed", "1", "--no-shrink", "--continue-on-failure"),
            *("--request-timeout", "30", "--output-sanitize", "false"),
        ]
        run = subprocess.run(
            [sys.executable, "-m", "schemathesis.cli", "run", f"{service.url}/openapi.json", *options],
            env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.nlp_service.service.dicom_serializer"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    told = run.stdout[-6000:]
    generated = re.search(r"([\d,]+) generated", run.stdout)
    assert run.returncode == 0, told
    assert generated is not None, told
    assert int(generated[1].replace(",", "")) >= (3000 if IS_FULL else 500)
    log = service.log.read_text()
    assert '"status": 5' not in log
    assert "request failed" not in log
