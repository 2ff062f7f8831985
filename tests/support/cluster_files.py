"""The deployment's files for Kubernetes, as Helm and kubectl make them."""

import json
import shutil
import subprocess
from functools import cache
from typing import Any

import pytest
import yaml
from paths import PROJECT
from waiting import HANG_S

DEPLOY = PROJECT / "deploy"
CHART = DEPLOY / "helm" / "tritone"


def program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=PROJECT / ".venv" / "bin")


HELM, KUBECTL = program("helm"), program("kubectl")

Document = dict[str, Any]

EVERYTHING = (
    "gateway.keysSecret=keys",
    "voices.claim=voices",
    "adminKey.secret=admin",
    "autoscaling.enabled=true",
    "autoscaling.streams=8",
    "serviceMonitor.enabled=true",
    "server.maxStreams=8",
    "server.settings.token2wav\\.dtype=fp32",
)
"""Values that bring all that the chart can make, but what cannot be with it:"""
APART = ("gateway.placement=deployment", "tls.secret=certificate")
_TAKEN: set[str] = set()


def run(*words: str | None) -> subprocess.CompletedProcess[str]:
    command = [str(word) for word in words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANG_S)


@cache
def helm(*values: str) -> subprocess.CompletedProcess[str]:
    """`helm template` of the chart as release `tts`. values: as of --set."""
    given = [word for value in values for word in ("--set", value)]
    return run(HELM, "template", "tts", str(CHART), "--namespace", "speech", *given)


def documents(text: str) -> list[Document]:
    return [document for document in yaml.safe_load_all(text) if document]


def rendered(*values: str) -> dict[str, Document]:
    """Kind/name -> what the chart makes of these values."""
    done = helm(*values)
    assert done.returncode == 0, done.stderr
    return named(documents(done.stdout))


def named(found: list[Document]) -> dict[str, Document]:
    return {f"{each['kind']}/{each['metadata']['name']}": each for each in found}


def pod(made: dict[str, Document], name: str = "tts-tritone") -> Document:
    spec: Document = made[f"Deployment/{name}"]["spec"]["template"]["spec"]
    return spec


def container(spec: Document, name: str) -> Document:
    """Of a pod, sidecars among them."""
    all_of_them = [*spec.get("initContainers", ()), *spec["containers"]]
    (found,) = (each for each in all_of_them if each["name"] == name)
    return found


def check(made: dict[str, Document]) -> None:
    """Unknown fields are errors, too. Kinds that are not Kubernetes' own have no schema there."""
    validate = pytest.importorskip("kubernetes_validate").validate
    for name, document in made.items():
        text = json.dumps(document)  # most are the same whatever the values
        if text not in _TAKEN and "monitoring.coreos.com" not in document["apiVersion"]:
            validate(document, "1.37", strict=True)
            assert document["metadata"]["labels"]["app.kubernetes.io/name"] == "tritone", name
            _TAKEN.add(text)
