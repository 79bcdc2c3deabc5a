"""The example manifests: valid by Kubernetes' own schema, with commands that radlabel has, and without a way out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.core import TyperGroup
from typer.main import get_command

from nlp_service.cli.app import app
from nlp_service.settings import ServiceSettings
from tests.conftest import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
KUSTOMIZATION = "kustomization.yaml"
# `make peers` fetches it: all kinds of Kubernetes 1.35, unknown fields refused.
SCHEMA = ROOT / "build" / "kubernetes" / "definitions.json"
FILES = sorted(path.name for path in FOLDER.glob("*.yaml"))


def documents(*names: str) -> list[dict[str, Any]]:
    return [
        document
        for name in names or FILES
        if name != KUSTOMIZATION
        for document in yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8"))
    ]


def pods() -> list[Any]:
    return [
        pytest.param(document["spec"]["template"]["spec"], id=document["metadata"]["name"])
        for document in documents()
        if document["kind"] in ("Deployment", "StatefulSet", "Job")
    ]


def definition_of(document: dict[str, Any]) -> str:
    group, _, version = document["apiVersion"].rpartition("/")
    package = group.removesuffix(".k8s.io") or "core"
    return f"io.k8s.api.{package}.{version}.{document['kind']}"


@pytest.mark.parametrize("document", [pytest.param(d, id=f"{d['kind']}/{d['metadata']['name']}") for d in documents()])
def test_manifest_is_valid_by_the_schema_of_kubernetes(document: dict[str, Any]) -> None:
    if not SCHEMA.is_file():
        pytest.skip("Kubernetes' schema is not there: make peers")
    import jsonschema_rs

    definitions = json.loads(SCHEMA.read_text(encoding="utf-8"))["$defs"]
    schema = {"$ref": f"#/$defs/{definition_of(document)}", "$defs": definitions}
    errors = jsonschema_rs.validator_for(schema).iter_errors(document)
    assert [f"{error.instance_path}: {error.message}" for error in errors] == []


def test_schema_refuses_a_field_that_is_misspelled() -> None:
    if not SCHEMA.is_file():
        pytest.skip("Kubernetes' schema is not there: make peers")
    import jsonschema_rs

    [policy, *_] = documents("network-policy.yaml")
    policy["spec"]["policytypes"] = policy["spec"].pop("policyTypes")
    definitions = json.loads(SCHEMA.read_text(encoding="utf-8"))["$defs"]
    schema = {"$ref": f"#/$defs/{definition_of(policy)}", "$defs": definitions}
    assert not jsonschema_rs.validator_for(schema).is_valid(policy)


def test_kustomization_names_every_file() -> None:
    listed = yaml.safe_load((FOLDER / KUSTOMIZATION).read_text(encoding="utf-8"))["resources"]
    assert sorted([*listed, KUSTOMIZATION]) == FILES


@pytest.mark.parametrize("pod", pods())
def test_pod_has_no_rights_that_it_does_not_need(pod: dict[str, Any]) -> None:
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert all(set(volume) == {"name", "emptyDir"} for volume in pod["volumes"])
    for volume in pod["volumes"]:
        assert volume["emptyDir"]["medium"] == "Memory", "reports would lie on a node's disk"
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"]


@pytest.mark.parametrize("pod", pods())
def test_command_and_settings_are_those_of_radlabel(pod: dict[str, Any]) -> None:
    settings = {f"RADLABEL_{name.upper()}" for name in ServiceSettings.model_fields}
    for container in pod["containers"]:
        command, words = get_command(app), list(container["args"])
        context = command.make_context("radlabel", [], resilient_parsing=True)
        while isinstance(command, TyperGroup):
            found = command.get_command(context, words.pop(0))
            assert found is not None
            command = found
        options = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options
        names = {variable["name"] for variable in container["env"]}
        assert {name for name in names if name.startswith("RADLABEL_")} <= settings
        assert {word for word in words if word.startswith("$(")} <= {f"$({name})" for name in names}
    [shared] = documents("settings.yaml")
    assert set(shared["data"]) <= settings


def test_uploads_fit_into_the_memory_of_a_pod() -> None:
    [shared] = documents("settings.yaml")
    upload = int(shared["data"]["RADLABEL_MAX_UPLOAD_BYTES"])
    for parameter in pods():
        pod = parameter.values[0]
        [container], [volume] = pod["containers"], pod["volumes"]
        folder, limit = (
            size_of(size) for size in (volume["emptyDir"]["sizeLimit"], container["resources"]["limits"]["memory"])
        )
        assert folder + size_of(container["resources"]["requests"]["memory"]) <= limit
        if container["name"] != "migrate":
            assert 2 * upload <= folder, "two uploads may come at a time"


def size_of(quantity: str) -> int:
    return int(quantity[:-2]) * {"Mi": 2**20, "Gi": 2**30}[quantity[-2:]]


def test_number_of_copies_is_left_to_the_autoscaler() -> None:
    scaled = {d["spec"]["scaleTargetRef"]["name"] for d in documents() if d["kind"] == "HorizontalPodAutoscaler"}
    assert scaled
    for document in documents():
        if document["kind"] == "Deployment" and document["metadata"]["name"] in scaled:
            assert "replicas" not in document["spec"]


def test_database_address_comes_from_a_secret_and_from_nowhere_else() -> None:
    for path in FOLDER.glob("*.yaml"):
        assert "postgresql://" not in path.read_text(encoding="utf-8"), path.name
    assert not [document for document in documents() if document["kind"] == "Secret"]
    for parameter in pods():
        for container in parameter.values[0]["containers"]:
            [source] = [v["valueFrom"] for v in container["env"] if v["name"] == "RADLABEL_DATABASE_URL"]
            assert source == {"secretKeyRef": {"name": "radlabel-database", "key": "url"}}
    assert "create secret generic radlabel-database" in (FOLDER / "README.md").read_text(encoding="utf-8")


def test_nothing_leaves_but_for_the_database_and_the_names_of_the_cluster() -> None:
    policies = {document["metadata"]["name"]: document["spec"] for document in documents("network-policy.yaml")}
    assert policies["deny-all"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    ways_out = [rule for spec in policies.values() for rule in spec.get("egress", [])]
    assert sorted(port["port"] for rule in ways_out for port in rule["ports"]) == [53, 53, 5432]
    for rule in ways_out:
        assert rule["to"], "a rule without a peer allows every peer"
        for peer in rule["to"]:
            assert {"namespaceSelector", "podSelector"} == set(peer), "a whole namespace or the outside is allowed"
    ways_in = [rule for spec in policies.values() for rule in spec.get("ingress", [])]
    assert [port["port"] for rule in ways_in for port in rule["ports"]] == [8000]


def test_policies_services_and_probes_mean_pods_that_are_there() -> None:
    labels = [d["spec"]["template"]["metadata"]["labels"] for d in documents() if "template" in d.get("spec", {})]

    def is_met(wanted: dict[str, str]) -> bool:
        return any(wanted.items() <= there.items() for there in labels)

    for document in documents():
        spec = document.get("spec", {})
        selector = spec.get("selector") or spec.get("podSelector")
        if selector:
            assert is_met(selector.get("matchLabels", selector)), document["metadata"]["name"]
    assert all(document["metadata"].get("namespace", "radlabel") == "radlabel" for document in documents())
    paths = {
        container[probe]["httpGet"]["path"]
        for parameter in pods()
        for container in parameter.values[0]["containers"]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe")
        if probe in container
    }
    assert paths == {"/healthz", "/readyz"}


def test_readme_lists_the_files() -> None:
    text = Path(FOLDER / "README.md").read_text(encoding="utf-8")
    assert [name for name in FILES if f"`{name}`" not in text] == []
