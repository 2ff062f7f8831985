"""Shared by all tests: the real server, started once, on the embedded voice."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateways import RunningGateway, gateway_before
from paths import EMBEDDED
from shared_server import SharedServer, Sharing
from waiting import HANG_S

from tritone.launcher import ServerSettings, TritonServer
from tritone.launcher.ports import free_ports
from tritone_client import SpeechClient, aio_live, live

# Without a GPU, kernels in the package triton run on the CPU, interpreted. That is decided when it
# is imported, which torch does too, at some operators.
if not Path("/dev/nvidiactl").exists():
    os.environ["TRITON_INTERPRET"] = "1"

# A shell's background job ignores this signal, and so would every process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def patient_clients() -> Iterator[None]:
    """A server that stands still for a while is not left by a cancel, which would be seen."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (live, aio_live):
            patch.setattr(module, "GRACE_S", HANG_S)
        yield


@pytest.fixture(scope="session", autouse=True)
def no_voices_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What was added on this machine is neither found nor changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITONE_VOICES", str(tmp_path_factory.mktemp("added")))
        yield


@pytest.fixture(scope="session", autouse=True)
def no_kernels_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Attention is torch's everywhere, whatever was built on this machine, so that a server and
    this process agree to the last bit. None can be built below a file; tests of kernels have a
    folder of their own."""
    file = tmp_path_factory.mktemp("kernels") / "file"
    file.touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITONE_KERNELS", str(file / "none"))
        yield


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Sharing(), Sharing.__name__)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where processes share the files, those with slow tests come first: at the end there are only
    short ones, so that no process waits for long."""
    if hasattr(config, "workerinput"):
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def server(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[TritonServer]:
    http, grpc, metrics = free_ports()
    settings = ServerSettings(
        model_dir=EMBEDDED,
        voices_dir=tmp_path_factory.mktemp("voices"),
        http_port=http,
        grpc_port=grpc,
        metrics_port=metrics,
        cache_dir=tmp_path_factory.mktemp("server"),
        # how slow the machine is must not decide which streams are taken, nor what is computed
        # together, which moves the last bits of bfloat16
        parameters={
            "cosyvoice2": {
                "max_first_audio_seconds": "0",
                "playback_reserve": "0",
                "max_hop": "25",
            }
        },
    )
    with SharedServer(settings) as running:
        running.wait_ready()
        pytestconfig.pluginmanager.get_plugin(Sharing.__name__).server = running
        yield running


@pytest.fixture(scope="session")
def client(server: TritonServer) -> Iterator[SpeechClient]:
    with SpeechClient(server.urls.grpc) as speaking:
        yield speaking


@pytest.fixture(scope="session")
def gateway(
    server: TritonServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    """In front of that server, open to this machine."""
    with gateway_before(tmp_path_factory.mktemp("gateway"), server.urls.grpc) as running:
        yield running


@pytest.fixture(scope="session")
def adding(
    server: TritonServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    """Another one, which adds voices to the server's registry, and has an alias."""
    more = ("--voices", str(server.settings.voices_dir), "--voices-model", str(EMBEDDED))
    more += ("--voice-alias", "nova=joe")
    with gateway_before(tmp_path_factory.mktemp("adding"), server.urls.grpc, more=more) as running:
        yield running
