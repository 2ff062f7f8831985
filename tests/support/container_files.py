"""Dockerfile and docker-compose.yml, as Docker reads them."""

import json
import os
import re
from collections.abc import Mapping
from typing import Any
from unittest import mock

import dockerfile
import yaml
from compose_spec import PyCompose
from expandvars import expand
from paths import PROJECT

TEXT = (PROJECT / "docker-compose.yml").read_text(encoding="utf-8")
VARIABLES = set(re.findall(r"\$\{([A-Z_]+)", TEXT))
TARGETS = ("cpu", "gpu")
SERVERS = {"cpu": "cpu", "gpu": "gpu", "gpu-alone": "gpu"}
"""Service -> the image it runs."""
GATEWAYS = {"gateway": "cpu", "gpu-gateway": "gpu"}
"""As well; it is built with the server."""
CACHE = "/var/cache/tritone"


def compose(**variables: str) -> dict[str, Any]:
    """As `docker compose` reads the file in an environment of these variables."""
    others: Mapping[str, str] = {k: v for k, v in os.environ.items() if k not in VARIABLES}
    with mock.patch.dict(os.environ, {**others, **variables}, clear=True):
        document: dict[str, Any] = yaml.safe_load(expand(TEXT))
    PyCompose.from_json(json.dumps(document)).validate()
    return document


def stage(target: str) -> dict[str, list[dockerfile.Command]]:
    """Instruction -> its uses in the stage of that name and those that it is from, in their
    order."""
    stages: dict[str, dict[str, list[dockerfile.Command]]] = {}
    for command in dockerfile.parse_file(str(PROJECT / "Dockerfile")):
        if command.cmd == "FROM":
            base, _, name = command.value
            stages[name] = {cmd: [*uses] for cmd, uses in stages.get(base, {}).items()}
        elif stages:
            stages[name].setdefault(command.cmd, []).append(command)
    return stages[target]


def only(target: str, instruction: str) -> dockerfile.Command:
    (command,) = stage(target)[instruction]
    return command
