"""The example files of `deploy/`: whoever stops a service gives it the time that it takes to finish."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from nlp_service.settings import ServiceSettings

DEPLOY = Path(__file__).parents[3] / "deploy"


def waits() -> Iterator[tuple[str, float]]:
    """Yield who stops a service, and after how many seconds it is killed."""
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    for name, service in compose["services"].items():
        if service["image"] == "radlabel":
            # Docker waits for 10 seconds where nothing is said.
            yield f"compose: {name}", float(str(service.get("stop_grace_period", "10s")).removesuffix("s"))
    unit = re.search(r"^TimeoutStopSec=(\d+)$", (DEPLOY / "radlabel.service").read_text(encoding="utf-8"), re.MULTILINE)
    yield "systemd", float(unit[1]) if unit else 90.0
    for path in (DEPLOY / "kubernetes").glob("*.yaml"):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            if document and document["kind"] in ("Deployment", "StatefulSet"):
                yield path.name, float(document["spec"]["template"]["spec"].get("terminationGracePeriodSeconds", 30))


def test_a_stop_is_given_longer_than_the_service_waits() -> None:
    found = dict(waits())
    assert len(found) >= 6
    timeout = ServiceSettings.model_fields["shutdown_timeout_s"].default
    assert {name for name, seconds in found.items() if seconds <= timeout} == set()
