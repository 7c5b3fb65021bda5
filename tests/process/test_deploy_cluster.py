"""The files in deploy/ for a cluster: systemd accepts the template, and the manifests name what a process of a cluster has."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from ruamel.yaml import YAML

from config.load import load
from config.tokens import tokens
from scripts.checkout import ROOT
from scripts.service.cluster.secret import secret_of
from scripts.service.ending import SUPERSEDED

TEMPLATE = ROOT / "deploy" / "systemd" / "firnline@.service"
MANIFESTS: list[dict[str, Any]] = list(YAML(typ="safe").load_all((ROOT / "deploy/kubernetes/cluster.yaml").read_text()))
BY_KIND = {each["kind"]: each for each in MANIFESTS}
SET = BY_KIND["StatefulSet"]["spec"]
(CONTAINER,) = SET["template"]["spec"]["containers"]
POD = {"metadata.name": "firnline-0", "status.podIP": "10.1.2.3"}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_accepts_an_instance_of_the_template(tmp_path: Path):
    text = TEMPLATE.read_text().replace("/opt/firnline/bin/firnline", shutil.which("true") or "")
    (tmp_path / "firnline@.service").write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / "firnline@8081.service")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if "firnline" in line]
    assert not complaints, complaints


def test_an_instance_has_its_port_and_a_member_name_of_its_own(tmp_path: Path):
    text = TEMPLATE.read_text()
    assert re.search(r"^RestartPreventExitStatus=(\d+)$", text, re.MULTILINE)[1] == str(SUPERSEDED)
    found = dict(re.findall(r"^Environment=(\w+)=(.*)$", text, re.MULTILINE))
    environ = {name: value.replace("%i", "8081").replace("%H", "node-1.example.com") for name, value in found.items()}
    path = tmp_path / "firnline.yaml"
    path.write_text(BY_KIND["ConfigMap"]["data"]["firnline.yaml"].replace("host: 0.0.0.0", "host: 127.0.0.1"))
    settings = load(path, [], environ)
    assert settings.cluster is not None
    assert (settings.http.port, settings.cluster.member) == (8081, "node-1.example.com-8081")


def test_the_configuration_of_the_pods_is_good_with_the_name_and_the_address_of_each(tmp_path: Path):
    path = tmp_path / "firnline.yaml"
    path.write_text(BY_KIND["ConfigMap"]["data"][Path(CONTAINER["args"][1]).name])
    secret: dict[str, str] = BY_KIND["Secret"]["stringData"]
    fields = {each["name"]: each["valueFrom"] for each in CONTAINER["env"]}
    of_pod = {name: POD[found["fieldRef"]["fieldPath"]] for name, found in fields.items() if "fieldRef" in found}
    settings = load(path, [], {**secret, **of_pod})
    assert settings.cluster is not None
    assert (settings.cluster.member, settings.cluster.address) == ("firnline-0", "10.1.2.3")
    assert secret_of(settings.cluster.secret, secret) == secret["FIRNLINE_CLUSTER_SECRET"].encode()
    assert {scope for scope, _ in tokens(settings.http, secret)} == {"read", "write"}
    assert fields["FIRNLINE_TOKEN"]["secretKeyRef"]["key"] in secret
    assert CONTAINER["ports"][0]["containerPort"] == settings.http.port == BY_KIND["Service"]["spec"]["ports"][0]["port"]
    assert str(settings.data_dir) in {each["mountPath"] for each in CONTAINER["volumeMounts"]}
    assert SET["replicas"] <= settings.cluster.shards


@pytest.mark.parametrize("version", ["1.31", "1.37"])
def test_kubernetes_accepts_the_manifests_of_a_cluster(version: str):
    for each in MANIFESTS:
        kubernetes_validate.validate(each, version, strict=True)


def test_every_name_in_the_manifests_of_a_cluster_leads_somewhere():
    labels = SET["selector"]["matchLabels"]
    selected = (BY_KIND["Service"]["spec"]["selector"], BY_KIND["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"])
    assert selected == (labels, labels)
    assert SET["template"]["metadata"]["labels"] == labels
    claims = {each["metadata"]["name"] for each in SET["volumeClaimTemplates"]}
    volumes = {each["name"] for each in SET["template"]["spec"]["volumes"]}
    assert {each["name"] for each in CONTAINER["volumeMounts"]} == volumes | claims
    assert BY_KIND["PodDisruptionBudget"]["spec"]["maxUnavailable"] < SET["replicas"]


def test_a_pod_drains_before_it_ends_within_its_grace():
    command = CONTAINER["lifecycle"]["preStop"]["exec"]["command"]
    assert float(command[-1]) + 60 < SET["template"]["spec"]["terminationGracePeriodSeconds"]
    known = subprocess.run(
        [sys.executable, *command[1:], "--help"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert known.returncode == 0, known.stderr
    assert "--timeout" in known.stdout
