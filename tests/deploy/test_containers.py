"""The images and the services that run them, as far as a machine without Docker can tell."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import requires
from pathlib import Path

import dockerfile
import pytest
import yaml
from command_line import options_of
from compose_spec import PyCompose, parse_duration
from expandvars import expand
from packaging.requirements import Requirement
from paths import PROJECT
from serving import SHORT, is_speech

from tritone.cli.gateway import gateway
from tritone.cli.serve import serve
from tritone.gateway.settings import GatewaySettings
from tritone.launcher.binaries import WHEEL
from tritone.launcher.command import UNLOAD_TIMEOUT_S
from tritone.launcher.launch import _KILL_MARGIN_S
from tritone.launcher.ports import free_ports
from tritone_client import SpeechClient, Utterance

TEXT = (PROJECT / "docker-compose.yml").read_text(encoding="utf-8")
VARIABLES = set(re.findall(r"\$\{([A-Z_]+)", TEXT))
TARGETS = ("cpu", "gpu")
SERVERS = {"cpu": "cpu", "gpu": "gpu", "gpu-mps": "gpu"}
"""Service -> the image it runs."""
GATEWAYS = {"gateway": "cpu", "gpu-gateway": "gpu"}
"""As well; it is built with the server."""
CACHE = "/var/cache/tritone"


def stage(target: str) -> dict[str, list[dockerfile.Command]]:
    """Instruction -> its uses in the stage of that name, in their order."""
    found: dict[str, list[dockerfile.Command]] = {}
    inside = False
    for command in dockerfile.parse_file(str(PROJECT / "Dockerfile")):
        if command.cmd == "FROM":
            inside = command.value[2] == target
        elif inside:
            found.setdefault(command.cmd, []).append(command)
    assert found, f"no stage {target}"
    return found


def only(target: str, instruction: str) -> dockerfile.Command:
    (command,) = stage(target)[instruction]
    return command


@pytest.fixture
def compose(monkeypatch: pytest.MonkeyPatch):
    """Reads docker-compose.yml as `docker compose` does in an environment of these variables."""

    def read(**variables: str) -> dict:
        for name in VARIABLES:
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        document = yaml.safe_load(expand(TEXT))
        PyCompose.from_json(json.dumps(document)).validate()
        return document

    return read


def command_line(document: dict, service: str) -> list[str]:
    """What the container runs: the image's entry point and the service's command."""
    target = document["services"][service]["build"]["target"]
    return [*only(target, "ENTRYPOINT").value, *document["services"][service]["command"]]


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    found = subprocess.run(
        [hadolint, "--failure-threshold", "style", "Dockerfile"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stdout + found.stderr) == (0, "")


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_runs_without_root_and_hears_signals(target: str) -> None:
    user, group = only(target, "USER").value[0].split(":")
    assert user == group != "0"
    assert f"--uid {user}" in stage(target)["RUN"][0].value[0]
    assert only(target, "ENTRYPOINT").json, "in shell form the shell would get the signals"
    assert only(target, "HEALTHCHECK").json
    assert only(target, "VOLUME").value == (CACHE,)


def test_both_images_have_the_same_interface() -> None:
    for instruction in ("USER", "WORKDIR", "VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK"):
        cpu, gpu = (only(target, instruction) for target in TARGETS)
        assert (cpu.value, cpu.flags) == (gpu.value, gpu.flags), instruction
    assert only("cpu", "EXPOSE").value == ("8000", "8001", "8002")


def test_the_cpu_image_has_the_server_that_the_launcher_looks_for() -> None:
    assert any(WHEEL in run.value[0] for run in stage("cpu")["RUN"])


@pytest.mark.parametrize(
    ("package", "version"),
    [("torch", "2.7.0a0+79aa17489c.nv25.4"), ("numpy", "1.26.4")],
)
def test_what_the_gpu_base_has_is_in_our_ranges(package: str, version: str) -> None:
    """Versions of the base 25.06: Triton's docs/introduction/compatibility.md. Otherwise pip would
    replace what its tensorrt_llm was built for; the Dockerfile lets it fail instead."""
    ours = {need.name: need.specifier for need in map(Requirement, requires("tritone"))}
    assert ours[package].contains(version, prereleases=True)


@pytest.mark.parametrize("target", TARGETS)
def test_the_build_context_holds_what_is_copied(target: str) -> None:
    lines = (PROJECT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert lines[1] == "*"
    kept = {line[1:] for line in lines if line.startswith("!")}
    wanted = {command.value[0] for command in stage(target).get("COPY", [])}
    mounted = {flag for run in stage(target)["RUN"] for flag in run.flags if "source=" in flag}
    wanted |= {re.search(r"source=([^,]+)", flag)[1] for flag in mounted}
    wanted |= {"pyproject.toml", "README.md", "LICENSE", "NOTICE", "tritone", "client"}
    links = [path for path in (PROJECT / "tritone" / "resources").iterdir() if path.is_symlink()]
    assert len(links) == 2
    wanted |= {str(path.resolve().relative_to(PROJECT)) for path in links}
    assert wanted <= kept
    assert all((PROJECT / path).exists() for path in kept)


def test_every_variable_is_explained(compose) -> None:
    head = TEXT.partition("\nname:")[0]
    explained = set(re.findall(r"^#   ([A-Z_ ]+)  ", head, re.MULTILINE))
    arguments = [
        argument
        for service in compose()["services"].values()
        for argument in service.get("build", {}).get("args", [])
    ]
    assert set(" ".join(explained).split()) == VARIABLES | set(arguments)


@pytest.mark.parametrize("target", TARGETS)
def test_a_build_argument_is_declared_before_it_is_used(target: str, compose) -> None:
    parsed = dockerfile.parse_file(str(PROJECT / "Dockerfile"))
    declared = {command.value[0].split("=")[0] for command in parsed if command.cmd == "ARG"}
    assert set(compose()["services"][target]["build"]["args"]) <= declared


def test_each_profile_has_its_services(compose) -> None:
    profiles = {name: service["profiles"] for name, service in compose()["services"].items()}
    assert profiles == {
        "gateway": ["cpu"],
        "gpu-gateway": ["gpu", "mps"],
        "cpu": ["cpu"],
        "gpu": ["gpu"],
        "gpu-mps": ["mps"],
        "mps": ["mps"],
        "build": ["build"],
    }


def test_every_service_is_confined(compose) -> None:
    for name, service in compose()["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        shared = service.get("ipc", "").startswith("service:")
        assert shared or name in GATEWAYS or service["shm_size"] == "1g", name


def test_the_defaults_serve_this_machine_alone(compose) -> None:
    for name in SERVERS:
        service = compose()["services"][name]
        assert service["ports"] == [f"127.0.0.1:{port}:{port}" for port in (8000, 8001, 8002)]
        model = service["volumes"][0]
        assert (model["target"], model["read_only"]) == ("/model", True)
        assert not model["bind"]["create_host_path"], "a missing model must be an error"


def test_what_is_set_arrives(compose) -> None:
    services = compose(
        MODEL="/data/voice",
        BIND_ADDRESS="0.0.0.0",
        GRPC_PORT="9001",
        THREADS="4",
        GPU="1",
        PROFILE="gpu-torch",
        BUILD_USER="7:8",
    )["services"]
    for name in SERVERS:
        assert services[name]["volumes"][0]["source"] == "/data/voice"
        assert services[name]["environment"]["TRITONE_MODEL"] == "/model"
        assert "0.0.0.0:9001:8001" in services[name]["ports"]
    assert services["build"]["volumes"] == [{**services["gpu"]["volumes"][0], "read_only": False}]
    assert services["build"]["user"] == "7:8"
    (device,) = services["gpu-mps"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["device_ids"] == ["1"]


@pytest.mark.parametrize("service", SERVERS)
def test_the_launcher_takes_the_command_line(compose, service: str) -> None:
    document = compose(THREADS="3")
    words = command_line(document, service)
    options = options_of(serve, words[words.index("serve") + 1 :])
    assert (options["profile"], options["address"]) == (SERVERS[service], "0.0.0.0")
    assert (options["threads"], options["cache_dir"]) == (3, Path(CACHE))
    grace = parse_duration(document["services"][service]["stop_grace_period"])
    assert grace > options["exit_timeout_secs"] + UNLOAD_TIMEOUT_S + _KILL_MARGIN_S


@pytest.mark.parametrize("service", GATEWAYS)
def test_a_gateway_is_beside_each_server(compose, service: str) -> None:
    beside = compose()["services"][service]
    assert beside["image"] == f"tritone:{GATEWAYS[service]}"
    assert beside["entrypoint"] == ["tritone", "gateway"]
    options = options_of(gateway, beside["command"])
    (backend,) = options["backend"]
    assert (options["address"], options["open_to_all"]) == ("0.0.0.0", True)
    assert beside["ports"] == [f"127.0.0.1:8080:{options['port']}"]
    profiles = set(beside["profiles"])
    servers = [s for n, s in compose()["services"].items() if n in SERVERS]
    for server in [s for s in servers if profiles & set(s["profiles"])]:
        assert f"{server['networks']['default']['aliases'][0]}:8001" == backend
    for target in TARGETS:
        installs = " ".join(run.value[0] for run in stage(target)["RUN"])
        assert re.search(r"/src\[[a-z,]*gateway\]", installs)
        assert "--no-gateway" in only(target, "ENTRYPOINT").value


def test_a_gateway_s_keys_are_mounted_where_it_reads_them(compose) -> None:
    for name in GATEWAYS:
        without = compose()["services"][name]
        assert without["environment"]["TRITONE_KEYS"] == ""
        with_keys = compose(KEYS="/etc/keys.json")["services"][name]
        mount, *_ = with_keys["volumes"]
        assert mount["source"] == "/etc/keys.json" and mount["read_only"]
        assert with_keys["environment"]["TRITONE_KEYS"] == mount["target"]


@pytest.mark.parametrize("name", GATEWAYS)
def test_a_gateway_s_limits_and_aliases_arrive(
    compose, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = options_of(gateway, compose()["services"][name]["command"])
    assert usual["max_connections"] == GatewaySettings.max_connections
    assert usual["idle_seconds"] == GatewaySettings.idle_seconds
    assert usual["stall_seconds"] == GatewaySettings.stall_seconds
    chosen = {"MAX_CONNECTIONS": "7", "IDLE_SECONDS": "8", "STALL_SECONDS": "9"}
    service = compose(**chosen, VOICE_ALIASES="alloy=heart nova=joe")["services"][name]
    aliases = service["environment"]["TRITONE_VOICE_ALIASES"]
    monkeypatch.setenv("TRITONE_VOICE_ALIASES", aliases)
    given = options_of(gateway, service["command"])
    limits = given["max_connections"], given["idle_seconds"], given["stall_seconds"]
    assert limits == (7, 8, 9) and given["voice_alias"] == ["alloy=heart", "nova=joe"]


@pytest.mark.parametrize("name", GATEWAYS)
def test_voices_that_a_gateway_adds_are_there_for_its_servers(compose, name: str) -> None:
    for variables in ({}, {"MODEL": "/data/voice"}):
        document = compose(**variables)
        services = document["services"]
        beside = services[name]
        options = options_of(gateway, beside["command"])
        registry = str(options["voices"])
        assert f"voices:{registry}" in beside["volumes"] and "voices" in document["volumes"]
        _, model, _ = beside["volumes"]
        profiles = set(beside["profiles"])
        for server in (services[n] for n in SERVERS):
            if profiles & set(server["profiles"]):
                assert server["environment"]["TRITONE_VOICES"] == registry
                assert f"voices:{registry}:ro" in server["volumes"]
                assert server["volumes"][0] == model, "the same encoders"
                same = server["environment"]["TRITONE_MODEL"]
                assert beside["environment"]["TRITONE_MODEL"] == same
    made = stage(GATEWAYS[name])["RUN"][0].value[0]
    assert f"install -d -o tritone -g tritone {registry}" in made, "a volume takes its owner"


def test_the_multi_process_service_is_shared(compose) -> None:
    document = compose()
    server, daemon = (document["services"][name] for name in ("gpu-mps", "mps"))
    assert server["ipc"] == "service:mps"
    assert daemon["ipc"] == "shareable"
    assert server["depends_on"]["mps"]["condition"] == "service_healthy"
    pipes = server["environment"]["CUDA_MPS_PIPE_DIRECTORY"]
    assert daemon["environment"]["CUDA_MPS_PIPE_DIRECTORY"] == pipes
    assert f"mps:{pipes}" in server["volumes"]
    assert f"mps:{pipes}" in daemon["volumes"]
    user = only("gpu", "USER").value[0].split(":")[0]
    assert f"uid={user}," in document["volumes"]["mps"]["driver_opts"]["o"]


@contextmanager
def container(words: list[str], home: Path, variables: dict[str, str]) -> Iterator:
    """The process that the container would be, in this checkout and with no other variable."""
    places = {CACHE: str(home), "/opt/tritone": str(PROJECT)}
    for place, here in places.items():
        words = [word.replace(place, here) for word in words]
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    environment = {"PATH": path, "HOME": str(home), **variables}
    with (
        (home / "stderr").open("w") as errors,
        subprocess.Popen(
            words, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def health(port: int) -> int:
    """Exit status of the health check's own command."""
    _, *words = only("cpu", "HEALTHCHECK").value
    words = [word.replace(":8000/", f":{port}/") for word in words]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    return subprocess.run(words, env=environment, capture_output=True, check=False).returncode


@pytest.mark.server
def test_the_cpu_service_starts_speaks_and_stops(compose, tmp_path: Path) -> None:
    """Its own command line, environment, health check and stop signal; the ports are others, as a
    container's are where they are published."""
    document = compose()
    service = document["services"]["cpu"]
    http, grpc, metrics = free_ports()
    ports = [f"--http-port={http}", f"--grpc-port={grpc}", f"--metrics-port={metrics}"]
    words = [*command_line(document, "cpu"), *ports]
    assert health(http) != 0
    with container(words, tmp_path, service["environment"]) as process:
        ready = any(line.startswith("ready after ") for line in process.stdout)
        assert ready, (tmp_path / "stderr").read_text()
        assert health(http) == 0
        with SpeechClient(f"127.0.0.1:{grpc}") as client:
            assert is_speech(client.speak(Utterance(SHORT, seed=1), timeout=60))
        process.send_signal(signal.Signals[only("cpu", "STOPSIGNAL").value[0]])
        grace = parse_duration(service["stop_grace_period"])
        assert process.wait(timeout=grace) == 0
    assert health(http) != 0
