"""A family is a folder: the toy converts, loads, streams through the real server and is examined by
the doctor without an edit outside its own folder."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from paths import GOLDEN, PROJECT, SUPPORT
from toy_server import free_ports
from tritonclient.grpc import service_pb2_grpc

import tritone
from tritone import cli, families
from tritone.checkpoints.conversion import ConvertOptions
from tritone.errors import EnvironmentProblem, InvalidRequest, ModelDirectoryError
from tritone.families.cosyvoice2.merge_llm import read_merged
from tritone.launcher import ServerSettings, TritonServer
from tritone.triton_models import INNER
from tritone_client import SpeechClient, Utterance
from tritone_client.request import infer_request

FOLDER = SUPPORT / "toy_family"
RATE, TOKEN, PAUSE = 12000, 480, 1200  # samples a second, a token and a pause
TEXT = "one three five"
SAMPLES = 4 * len(TEXT.replace(" ", "")) * TOKEN + 2 * PAUSE


@pytest.fixture(scope="module", autouse=True)
def _known() -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    patch.setenv("TRITONE_FAMILIES", str(FOLDER))
    patch.setattr(families, "__path__", [*families.__path__, str(FOLDER)])
    yield
    patch.undo()


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("released")
    shutil.copytree(GOLDEN / "llm_frontend" / "llm_tiny" / "merged_hf", folder / "llm")
    numbers = read_merged(folder / "llm").model_dump(exclude={"sos_id", "task_id"})
    content = {"lowest_hz": 220.0, "llm": numbers}
    (folder / "toy.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def model(released: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("converted") / "model"
    assert cli.main(["convert", str(released), str(folder)]) == 0
    return folder


def test_it_is_known_and_its_configuration_has_its_section(model: Path) -> None:
    assert {"toy", "cosyvoice2"} <= set(families.known())
    content = json.loads((model / "config.json").read_text())
    assert (content["format"], content["family"], content["sample_rate"]) == (2, "toy", RATE)
    assert content["toy"]["lowest_hz"] == 220


def test_it_speaks_in_this_process(model: Path) -> None:
    with tritone.load(model) as tts:
        chunks = list(tts.stream(TEXT))
        whole = tts.synthesize(TEXT, streaming=False)
        with pytest.raises(InvalidRequest, match="clones no voices"):
            tts.synthesize(TEXT, reference_wav=np.ones(8000, np.float32) * 0.1)
        assert tts.sample_rate == RATE
    # at least one for each segment: what is late goes together
    assert len(chunks) >= 3 and sum(len(chunk.samples) for chunk in chunks) == SAMPLES
    assert len(whole) == SAMPLES and np.abs(whole).max() == pytest.approx(0.3, abs=0.01)


def test_without_an_ode_solver_there_are_no_presets(model: Path) -> None:
    with pytest.raises(EnvironmentProblem, match=r"preset='fast'.* toy has no ODE solver"):
        tritone.load(model, preset="fast")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's inner models, the toy's endpoint, and the one that does not stream."""
    folder = tmp_path_factory.mktemp("repository")
    for name in INNER:
        (folder / name).symlink_to(PROJECT / "model_repo" / name)
    (folder / "toy").symlink_to(FOLDER / "toy" / "endpoint")
    (folder / "toy_unary").symlink_to(FOLDER / "toy" / "unary")
    return folder


@pytest.mark.server
def test_it_streams_through_the_real_server(model: Path, repository: Path, tmp_path: Path) -> None:
    settings = ServerSettings(
        repository,
        model_dir=model,
        cache_dir=tmp_path,
        environment={"TRITONE_FAMILIES": str(FOLDER)},
        unary="another_name",
        **free_ports(),
    )
    with TritonServer(settings) as server:
        server.wait_ready()
        with SpeechClient(server.urls.grpc) as client:
            assert (client.model, client.sample_rate) == ("toy", RATE)
            assert client.voices() == ["plain"] and client.is_ready()
            packets = list(client.packets(Utterance(TEXT), timing=True))
        request = infer_request(Utterance(TEXT), "another_name")
        with grpc.insecure_channel(server.urls.grpc) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            whole = np.frombuffer(stub.ModelInfer(request).raw_output_contents[0], "<f4")
    wave = np.concatenate([packet.samples for packet in packets])
    assert len(packets) >= 3 and len(wave) == len(whole) == SAMPLES
    first = 4 * len("one") * TOKEN
    assert not wave[first : first + PAUSE].any() and wave[first - 50 : first].any()
    assert packets[-1].timing["segments"] == 3


def test_the_doctor_examines_it(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--model", str(model), "--only", "model", "--json"]) in (0, 1)
    found = {row["check"]: row for row in json.loads(capsys.readouterr().out)["checks"]}
    assert found["model.tones"]["text"] == "tones of 220 Hz and above"
    assert found["model.config"]["text"] == "toy, 12000 Hz, default voice plain"
    assert found["model.files"]["status"] == "skip"  # another family's
    assert {row["status"] for row in found.values()} <= {"pass", "skip"}


def test_what_is_no_release_is_refused(tmp_path: Path) -> None:
    toy = families.family_named("toy")
    with pytest.raises(ModelDirectoryError, match=r"toy\.json is missing"):
        list(toy.convert(tmp_path, tmp_path / "model", ConvertOptions()))


class TestBad:
    """What config.json and a family's folder can be wrong in."""

    def family(self, folder: Path, body: str) -> None:
        (folder / "broken").mkdir()
        code = "from tritone.families.contract import Family\n\n"
        (folder / "broken" / "__init__.py").write_text(code + body)

    @pytest.fixture
    def elsewhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("TRITONE_FAMILIES", str(tmp_path))
        monkeypatch.setattr(families, "__path__", [*families.__path__, str(tmp_path)])
        return tmp_path

    def test_a_family_whose_part_is_missing(self, elsewhere: Path) -> None:
        self.family(elsewhere, "class Broken(Family):\n    name = 'broken'\n\nFAMILY = Broken()\n")
        with pytest.raises(ModelDirectoryError, match=r"'broken' is not complete: .*load_flow"):
            families.family_named("broken")

    def test_an_unknown_family(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text(json.dumps({"format": 2, "family": "nobody"}))
        with pytest.raises(ModelDirectoryError, match=r"'nobody' is unknown; known are cosyvoice2"):
            families.open_model(tmp_path)

    def test_an_older_directory_names_the_command_that_mends_it(
        self, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        content = json.loads((model / "config.json").read_text())
        section = content.pop("toy")
        old = {**content, "format": 1, **section}
        (tmp_path / "config.json").write_text(json.dumps(old))
        with pytest.raises(ModelDirectoryError, match="run `tritone convert --upgrade "):
            families.open_model(tmp_path)
        assert cli.main(["convert", "--upgrade", str(tmp_path)]) == 0
        assert families.open_model(tmp_path).config == families.open_model(model).config
        assert "is of format 2 now" in capsys.readouterr().out
        assert cli.main(["convert", "--upgrade", str(tmp_path / "none")]) == 2

    @pytest.mark.parametrize(
        ("outside", "section", "message"),
        [
            ({}, {"loudness": 3}, "loudness: Extra inputs"),
            ({}, {"lowest_hz": "deep"}, "lowest_hz: Input should be a valid number"),
            ({"llm": None}, {}, "llm stands outside toy"),
            ({}, {"sample_rate": 9}, "toy has sample_rate, which stand outside"),
            ({"toy": 3}, {}, "toy holds int, expected the section of the family"),
        ],
    )
    def test_a_wrong_config_names_the_key(
        self, model: Path, tmp_path: Path, outside, section, message: str
    ) -> None:
        content = json.loads((model / "config.json").read_text())
        content["toy"].update(section)
        (tmp_path / "config.json").write_text(json.dumps({**content, **outside}))
        with pytest.raises(ModelDirectoryError, match=rf"config\.json: {message}"):
            families.open_model(tmp_path)
