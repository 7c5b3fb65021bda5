"""The files in deploy/: systemd accepts the unit, and the manifests name what the service has."""

import copy
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from ruamel.yaml import YAML

from config.load import load
from config.tokens import VARIABLES, tokens
from scripts.checkout import ROOT
from scripts.service.ending import SUPERSEDED
from tests.support.service import service

UNIT = ROOT / "deploy" / "systemd" / "firnline.service"
MANIFESTS: list[dict[str, Any]] = list(YAML(typ="safe").load_all((ROOT / "deploy/kubernetes/firnline.yaml").read_text()))
BY_KIND = {each["kind"]: each for each in MANIFESTS}
POD = BY_KIND["StatefulSet"]["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_accepts_the_unit(tmp_path: Path):
    text = UNIT.read_text().replace("/opt/firnline/bin/firnline", shutil.which("true") or "")
    (tmp_path / "firnline.service").write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / "firnline.service")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if "firnline" in line]
    assert not complaints, complaints


def test_the_unit_does_not_restart_a_service_that_is_superseded():
    assert re.search(r"^RestartPreventExitStatus=(\d+)$", UNIT.read_text(), re.MULTILINE)[1] == str(SUPERSEDED)
    assert "FIRNLINE_DATA_DIR=/var/lib/firnline" in UNIT.read_text()


def test_the_configuration_of_the_manifests_is_good_with_their_secret(tmp_path: Path):
    path = tmp_path / "firnline.yaml"
    path.write_text(BY_KIND["ConfigMap"]["data"][Path(CONTAINER["args"][1]).name])
    secret = BY_KIND["Secret"]["stringData"]
    settings = load(path, [], secret)
    assert {scope for scope, _ in tokens(settings.http, secret)} == {"read", "write"}
    assert set(secret) == set(VARIABLES)
    assert CONTAINER["ports"][0]["containerPort"] == settings.http.port == BY_KIND["Service"]["spec"]["ports"][0]["port"]
    assert BY_KIND["Service"]["metadata"]["name"] in settings.http.hosts
    assert str(settings.data_dir) in {each["mountPath"] for each in CONTAINER["volumeMounts"]}


@pytest.mark.parametrize("version", ["1.31", "1.37"])
def test_kubernetes_accepts_the_manifests(version: str):
    for each in MANIFESTS:
        kubernetes_validate.validate(each, version, strict=True)
    wrong = copy.deepcopy(BY_KIND["StatefulSet"])
    wrong["spec"]["template"]["spec"]["containers"][0]["readinessprobe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readinessprobe"):
        kubernetes_validate.validate(wrong, version, strict=True)


def test_every_name_in_the_manifests_leads_somewhere():
    labels = BY_KIND["StatefulSet"]["spec"]["selector"]["matchLabels"]
    assert BY_KIND["Service"]["spec"]["selector"] == labels == BY_KIND["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
    volumes = {each["name"] for each in POD["volumes"]}
    claims = {each["metadata"]["name"] for each in BY_KIND["StatefulSet"]["spec"]["volumeClaimTemplates"]}
    assert {each["name"] for each in CONTAINER["volumeMounts"]} == volumes | claims
    assert BY_KIND["StatefulSet"]["spec"]["serviceName"] == BY_KIND["Service"]["metadata"]["name"]
    assert f"useradd --system --uid {POD['securityContext']['runAsUser']}" in (ROOT / "Dockerfile").read_text()
    assert {each["mountPath"] for each in CONTAINER["volumeMounts"]} >= {"/data", "/output"}


def test_the_probes_answer_without_a_token_to_the_address_of_the_pod(tmp_path: Path):
    (tmp_path / "in").write_text("R_1\n")
    secret: dict[str, str] = BY_KIND["Secret"]["stringData"]
    source = f"streams.events.source={{file: {tmp_path}/in}}"
    with service(None, None, "http.host=0.0.0.0", source, **secret) as running:
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            status, _, body = running.request(CONTAINER[kind]["httpGet"]["path"], Host="10.1.2.3:8080")
            assert status == 200, body
        assert running.request("/events/get-stats", Host="localhost")[0] == 401
        token = {"Host": "localhost", "Authorization": f"Bearer {secret['FIRNLINE_READ_TOKEN']}"}
        assert json.loads(running.request("/events/get-stats", **token)[2])["state"]
