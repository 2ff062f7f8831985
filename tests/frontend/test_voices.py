import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from frontend_fixtures import FRONTEND_GOLDEN, voice
from safetensors.numpy import load_file, save_file

from tritone.errors import InvalidRequest, ModelDirectoryError
from tritone.families.cosyvoice2.voice import Voice, import_spk2info
from tritone.frontend.voices import VoiceCache, VoiceStore, load_voice, reference_key, save_voice

torch = pytest.importorskip("torch")


def assert_same(ours: Voice, other: Voice) -> None:
    np.testing.assert_array_equal(ours.prompt_tokens, other.prompt_tokens)
    np.testing.assert_array_equal(ours.prompt_mel, other.prompt_mel)
    np.testing.assert_array_equal(ours.embedding, other.embedding)
    assert ours.transcript == other.transcript


@pytest.mark.parametrize("tokens", [0, 7])
def test_a_voice_survives_its_file(tmp_path: Path, tokens: int) -> None:
    saved = voice(tokens, transcript="说 it “so”")
    path = VoiceStore(tmp_path).path("me")
    save_voice(path, saved)
    assert_same(load_voice(path, Voice), saved)
    assert_same(VoiceStore(tmp_path).load("me", Voice), saved)


@pytest.mark.parametrize(
    "bad", ["", ".", "..", "../x", "a/b", "-a", ".a", "a b", "é", "a\n", "x" * 65]
)
def test_a_voice_id_is_never_a_path(tmp_path: Path, bad: str) -> None:
    with pytest.raises(InvalidRequest, match="is no voice id") as caught:
        VoiceStore(tmp_path).load(bad, Voice)
    assert caught.value.field == "voice"


def test_an_unknown_voice_names_those_there_are(tmp_path: Path) -> None:
    store = VoiceStore(tmp_path)
    with pytest.raises(InvalidRequest, match="has no voices"):
        store.load("me", Voice)
    for number in range(12):
        save_voice(store.path(f"v{number:02}"), voice(0))
    (tmp_path / "voices" / "not a voice.safetensors").write_bytes(b"")
    with pytest.raises(InvalidRequest, match=r"'me' is not registered; .*v00, v01, .* and 2 more"):
        store.load("me", Voice)
    assert len(store.names()) == 12


def test_a_damaged_voice_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "v.safetensors"
    path.write_bytes(b"nonsense")
    with pytest.raises(ModelDirectoryError, match="not a voice file"):
        load_voice(path, Voice)
    save_voice(path, voice(3))
    tensors = load_file(path)
    save_file({**tensors, "prompt_mel": tensors["prompt_mel"][:5]}, path)
    with pytest.raises(ModelDirectoryError, match=r"prompt_mel has shape \(5, 80\), expected"):
        load_voice(path, Voice)
    save_file({**tensors, "embedding": np.full(192, np.nan, dtype=np.float32)}, path)
    with pytest.raises(ModelDirectoryError, match="NaN"):
        load_voice(path, Voice)
    del tensors["embedding"]
    save_file(tensors, path)
    with pytest.raises(ModelDirectoryError, match="embedding"):
        load_voice(path, Voice)


def test_the_key_depends_on_audio_rate_and_transcript() -> None:
    wav = np.arange(10, dtype=np.float32)
    keys = {
        reference_key(wav, 16000, "a"),
        reference_key(wav, 24000, "a"),
        reference_key(wav, 16000, "b"),
        reference_key(wav[:9], 16000, "a"),
        reference_key(wav + 1, 16000, "a"),
    }
    assert len(keys) == 5
    assert reference_key(wav.copy(), 16000, "a") in keys


def test_the_cache_keeps_the_most_recent() -> None:
    made: list[str] = []

    def get(key: str) -> tuple[Voice, bool]:
        return cache.get(key, lambda: made.append(key) or voice(0))

    cache: VoiceCache[Voice] = VoiceCache(2)
    first, cached = get("a")
    assert not cached
    get("b")
    assert get("a") == (first, True)
    get("c")  # drops b, the least recently used
    again, cached = get("a")
    assert again is first and cached
    assert not get("b")[1]
    assert made == ["a", "b", "c", "b"]


def test_requests_for_the_same_new_voice_wait_for_one_computation() -> None:
    cache, started, go_on = VoiceCache(4), threading.Event(), threading.Event()
    made: list[int] = []
    results: list[tuple[Voice, bool]] = []

    def compute() -> Voice:
        made.append(1)
        started.set()
        assert go_on.wait(10)
        return voice(0)

    threads = [
        threading.Thread(target=lambda: results.append(cache.get("k", compute))) for _ in range(4)
    ]
    threads[0].start()
    assert started.wait(10)
    for thread in threads[1:]:
        thread.start()
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert len(made) == 1
    assert len({id(found) for found, _ in results}) == 1
    assert not any(cached for _, cached in results)  # all of them waited
    assert len(results) == 4


def test_a_failed_computation_is_not_cached() -> None:
    cache = VoiceCache(2)

    def fail() -> Voice:
        raise InvalidRequest("reference_wav", "is bad")

    with pytest.raises(InvalidRequest, match="is bad"):
        cache.get("k", fail)
    assert cache.get("k", lambda: voice(0)) is not None


def test_both_spk2info_formats_give_the_same_voice() -> None:
    golden = load_file(FRONTEND_GOLDEN / "prompt_frontend.safetensors")
    seen: list[list[int]] = []
    upstream = import_spk2info(
        FRONTEND_GOLDEN / "spk2info_upstream.pt", lambda ids: seen.append(list(ids)) or "希望"
    )
    other = import_spk2info(FRONTEND_GOLDEN / "spk2info_async.pt", lambda ids: "")
    expected = Voice(
        golden["p0.llm_prompt_speech_token"][0],
        golden["p0.prompt_speech_feat"][0],
        golden["p0.llm_embedding"][0],
        "希望",
    )
    assert_same(upstream["my_spk"], expected)
    assert seen == [golden["p0.prompt_text"][0].tolist()]
    assert other["001"].transcript == "希望你以后能够做的比我还好呦。"
    np.testing.assert_array_equal(other["001"].prompt_mel, expected.prompt_mel)


def entry(**changes: Any) -> dict[str, Any]:
    whole = {
        "prompt_text": "hi",
        "speech_token": torch.zeros(1, 3, dtype=torch.int32),
        "speech_feat": torch.zeros(1, 6, 80),
        "embedding": torch.ones(1, 192),
        "speech_token_len": torch.tensor([3]),
    }
    return {**whole, **changes}


def test_a_speaker_without_prompt(tmp_path: Path) -> None:
    torch.save({"default": {"embedding": torch.ones(1, 192)}}, tmp_path / "s.pt")
    imported = import_spk2info(tmp_path / "s.pt", str)["default"]
    assert imported.prompt_tokens.shape == (0,)
    assert imported.prompt_mel.shape == (0, 80)
    assert imported.transcript == ""


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            {"x": entry(speech_feat=torch.zeros(1, 5, 80))},
            r"voice 'x': prompt_mel has shape \(5, 80",
        ),
        ({"x": entry(speech_feat=torch.zeros(6, 80))}, r"speech_feat has shape \(6, 80\)"),
        ({"x": entry(embedding=torch.zeros(192))}, r"embedding has shape \(192,\)"),
        ({"x": {"name": "n"}}, "embedding is missing or not a tensor"),
        ({"x": 3}, "is int, expected a dict"),
        ([1], "holds list, expected a dict"),
    ],
)
def test_a_wrong_spk2info_is_refused(tmp_path: Path, content: Any, problem: str) -> None:
    torch.save(content, tmp_path / "s.pt")
    with pytest.raises(ModelDirectoryError, match=problem):
        import_spk2info(tmp_path / "s.pt", str)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("run",))


def test_code_in_a_spk2info_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"x": Evil()}, tmp_path / "s.pt")
    (tmp_path / "junk.pt").write_bytes(b"junk")
    for name in ("s.pt", "junk.pt", "missing.pt"):
        with pytest.raises(ModelDirectoryError, match="cannot be read as plain tensors"):
            import_spk2info(tmp_path / name, str)
    assert capsys.readouterr().out == ""
