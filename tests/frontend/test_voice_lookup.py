"""Which voice a request gets: the model directory's, then the registry's, as they are now."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from frontend_fixtures import voice
from voice_records import ENCODERS, entry

from tritone.errors import InvalidRequest, VoiceRegistryError
from tritone.families.cosyvoice2.voice import Voice
from tritone.frontend.registry.lookup import RegisteredVoices
from tritone.frontend.registry.store import VoiceRegistry
from tritone.frontend.voices import VoiceCache, VoiceStore, save_voice
from tritone.resources import voice_registry_dir


@dataclass
class Replica:
    """A front end's way to a voice."""

    model: Path
    registry: VoiceRegistry
    encoders: str = ENCODERS
    cache: VoiceCache[Voice] = field(default_factory=lambda: VoiceCache(4))
    asked: int = 0

    def __post_init__(self) -> None:
        self.voices = RegisteredVoices(
            self.model, "cosyvoice2", Voice, self.digest, VoiceRegistry(self.registry.folder)
        )

    def digest(self) -> str:
        self.asked += 1
        return self.encoders

    def get(self, voice_id: str) -> tuple[Voice, bool]:
        return self.cache.get(self.voices.key(voice_id), lambda: self.voices.load(voice_id))

    def speaks(self, voice_id: str, seed: int) -> bool:
        expected = voice(5, seed=seed).embedding
        return np.array_equal(self.get(voice_id)[0].embedding, expected)


@pytest.fixture
def registry(tmp_path: Path) -> VoiceRegistry:
    return VoiceRegistry(tmp_path / "registry")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_voice(VoiceStore(tmp_path / "model").path("own"), voice(5, seed=9))
    return tmp_path / "model"


def test_two_replicas_see_what_is_added_replaced_and_removed(
    model: Path, registry: VoiceRegistry
) -> None:
    replicas = [Replica(model, registry), Replica(model, registry)]
    for replica in replicas:
        with pytest.raises(InvalidRequest, match="'ann' is not registered"):
            replica.get("ann")
    registry.put(*entry("ann", seed=1))
    for replica in replicas:
        assert replica.speaks("ann", 1) and replica.get("ann")[1]  # from the cache then
    registry.put(*entry("ann", seed=2), replace=True)
    assert all(replica.speaks("ann", 2) for replica in replicas)
    registry.remove("ann")
    for replica in replicas:
        with pytest.raises(InvalidRequest, match="'ann' is not registered"):
            replica.get("ann")


def test_the_model_directory_s_voice_wins(model: Path, registry: VoiceRegistry) -> None:
    registry.put(*entry("own", seed=1))
    assert Replica(model, registry).speaks("own", 9)


def test_voices_of_others_are_not_named(model: Path, registry: VoiceRegistry) -> None:
    registry.put(*entry("secret"))
    with pytest.raises(InvalidRequest, match="registered voices: own; `tritone voices`") as caught:
        Replica(model, registry).get("nobody")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"family": "cosyvoice3"}, "was made for cosyvoice3, and this model directory is of cosy"),
        ({"encoders": "0" * 64}, "was made with other encoders .digest 0000000000000000, here eee"),
        ({"encoders": ""}, "was made with other encoders .digest none"),
    ],
)
def test_a_voice_of_another_checkpoint_is_refused_by_name(
    model: Path, registry: VoiceRegistry, changes: dict[str, str], problem: str
) -> None:
    registry.put(*entry("ann", **changes))
    with pytest.raises(InvalidRequest, match=f"voice: 'ann' {problem}"):
        Replica(model, registry).get("ann")


def test_a_checkpoint_without_encoders_takes_every_voice_of_its_family(
    model: Path, registry: VoiceRegistry
) -> None:
    registry.put(*entry("ann", seed=1))
    assert Replica(model, registry, encoders="").speaks("ann", 1)


def test_a_damaged_voice_is_an_error_of_its_own(model: Path, registry: VoiceRegistry) -> None:
    registry.put(*entry("ann"))
    registry.put(*entry("bob", seed=1))
    (registry.folder / "ann.json").write_text("{")
    replica = Replica(model, registry)
    with pytest.raises(VoiceRegistryError, match=r"ann\.json is damaged"):
        replica.get("ann")
    assert replica.speaks("bob", 1)


def test_nothing_is_read_before_it_is_asked_for(
    model: Path, registry: VoiceRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the start does not depend on how many voices there are."""
    for number in range(20):
        registry.put(*entry(f"v{number}"))
    looked: list[str] = []
    for name in ("identity", "record", "open", "listing"):
        real = getattr(VoiceRegistry, name)
        monkeypatch.setattr(
            VoiceRegistry,
            name,
            lambda self, *a, real=real, name=name: looked.append(name) or real(self, *a),
        )
    replica = Replica(model, registry)
    replica.get("own")
    assert looked == [] and replica.asked == 0
    replica.get("v3")
    replica.get("v4")
    assert "listing" not in looked and looked.count("record") == 2 and replica.asked == 1


def test_where_the_registry_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRITONE_VOICES", "/somewhere")
    assert voice_registry_dir() == Path("/somewhere")
    monkeypatch.delenv("TRITONE_VOICES")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert voice_registry_dir() == tmp_path / "tritone" / "voices"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert voice_registry_dir() == Path("/home/me/.local/share/tritone/voices")
