"""The services that run the images, as far as a machine without Docker can tell."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dockerfile
import pytest
from command_line import options_of
from compose_spec import parse_duration
from container_files import (
    CACHE,
    GATEWAYS,
    SERVERS,
    TARGETS,
    TEXT,
    VARIABLES,
    compose,
    only,
    stage,
)
from paths import PROJECT
from serving import SHORT, is_speech
from waiting import HANG_S

from tritone.cli.serve import serve
from tritone.launcher.command import UNLOAD_TIMEOUT_S
from tritone.launcher.launch import _KILL_MARGIN_S
from tritone.launcher.ports import free_ports
from tritone_client import SpeechClient, Utterance


def command_line(document: dict, service: str) -> list[str]:
    """What the container runs: the image's entry point and the service's command."""
    target = document["services"][service]["build"]["target"]
    return [*only(target, "ENTRYPOINT").value, *document["services"][service]["command"]]


def test_every_variable_is_explained() -> None:
    head = TEXT.partition("\nname:")[0]
    explained = set(re.findall(r"^#   ([A-Z_ ]+)  ", head, re.MULTILINE))
    arguments = [
        argument
        for service in compose()["services"].values()
        for argument in service.get("build", {}).get("args", [])
    ]
    assert set(" ".join(explained).split()) == VARIABLES | set(arguments)


@pytest.mark.parametrize("target", TARGETS)
def test_a_build_argument_is_declared_before_it_is_used(target: str) -> None:
    parsed = dockerfile.parse_file(str(PROJECT / "Dockerfile"))
    declared = {command.value[0].split("=")[0] for command in parsed if command.cmd == "ARG"}
    assert set(compose()["services"][target]["build"]["args"]) <= declared


def test_each_profile_has_its_services() -> None:
    profiles = {name: service["profiles"] for name, service in compose()["services"].items()}
    assert profiles == {
        "gateway": ["cpu"],
        "gpu-gateway": ["gpu", "alone"],
        "cpu": ["cpu"],
        "gpu": ["gpu"],
        "gpu-alone": ["alone"],
        "bench": ["bench"],
        "mps": ["gpu", "bench"],
        "build": ["build"],
    }


def test_every_service_is_confined() -> None:
    for name, service in compose()["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        shared = service.get("ipc", "").startswith("service:")
        assert shared or name in GATEWAYS or service["shm_size"] == "1g", name


def test_the_defaults_serve_this_machine_alone() -> None:
    for name in SERVERS:
        service = compose()["services"][name]
        assert service["ports"] == [f"127.0.0.1:{port}:{port}" for port in (8000, 8001, 8002)]
        model = service["volumes"][0]
        assert (model["target"], model["read_only"]) == ("/model", True)
        assert not model["bind"]["create_host_path"], "a missing model must be an error"


def test_what_is_set_arrives() -> None:
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
    (device,) = services["gpu-alone"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["device_ids"] == ["1"]


@pytest.mark.parametrize("service", SERVERS)
def test_the_launcher_takes_the_command_line(service: str) -> None:
    document = compose(THREADS="3")
    words = command_line(document, service)
    options = options_of(serve, words[words.index("serve") + 1 :])
    assert (options["profile"], options["address"]) == (SERVERS[service], "0.0.0.0")
    assert (options["threads"], options["cache_dir"]) == (3, Path(CACHE))
    grace = parse_duration(document["services"][service]["stop_grace_period"])
    assert grace > options["exit_timeout_secs"] + UNLOAD_TIMEOUT_S + _KILL_MARGIN_S


@pytest.mark.parametrize("service", ["gpu", "bench"])
def test_the_multi_process_service_is_shared(service: str) -> None:
    document = compose()
    server, daemon = (document["services"][name] for name in (service, "mps"))
    assert server["ipc"] == "service:mps"
    assert daemon["ipc"] == "shareable"
    assert server["depends_on"]["mps"]["condition"] == "service_healthy"
    pipes = server["environment"]["CUDA_MPS_PIPE_DIRECTORY"]
    assert daemon["environment"]["CUDA_MPS_PIPE_DIRECTORY"] == pipes
    assert f"mps:{pipes}" in server["volumes"]
    assert f"mps:{pipes}" in daemon["volumes"]
    user = only("gpu", "USER").value[0].split(":")[0]
    assert f"uid={user}," in document["volumes"]["mps"]["driver_opts"]["o"]


def test_it_can_be_left_out() -> None:
    server = compose()["services"]["gpu-alone"]
    assert not {"depends_on", "ipc"} & server.keys() and "mps" not in str(server)


@pytest.mark.parametrize("module", ["benchmarks.gpu", "benchmarks.backend_stall"])
def test_the_gpu_image_measures_with_what_it_has(module: str) -> None:
    """Whatever is imported is of the image: of the package's own requirements, the base's or the
    benchmarks that are copied."""
    assert ("benchmarks", "benchmarks") in [step.value for step in stage("gpu")["COPY"]]
    bench = compose()["services"]["bench"]
    assert [*bench["entrypoint"][1:], bench["command"][0]] == ["python3", "-m", "benchmarks.gpu"]
    extras = ["matplotlib", "transformers", "pytest", "hypothesis", "onnxscript", "scipy", "jiwer"]
    block = f"import sys; sys.modules.update(dict.fromkeys({extras}))"
    code = f"{block}; import {module}; import tritone_client, tritonclient.grpc"
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=True, timeout=HANG_S)


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
def test_the_cpu_service_starts_speaks_and_stops(tmp_path: Path) -> None:
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
            assert is_speech(client.speak(Utterance(SHORT, seed=1), timeout=HANG_S))
        process.send_signal(signal.Signals[only("cpu", "STOPSIGNAL").value[0]])
        grace = parse_duration(service["stop_grace_period"])
        assert process.wait(timeout=grace) == 0
    assert health(http) != 0
