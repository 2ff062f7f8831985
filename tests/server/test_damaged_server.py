"""The real server on a checkpoint that is damaged: it is not ready, and what is spoken all the same
fails by name and is counted."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from damaged_voice import LANGUAGE_MODEL, VOCODER, Weights, damaged, scaled
from metrics_scrape import Scrape, text_of
from paths import EMBEDDED, PROJECT
from serving import SENTENCE, SHORT, is_speech, wait_until_free
from toy_server import free_ports
from waiting import HANG_S, wait_until

from tritone.launcher import ServerSettings, TritonServer
from tritone.llm.contract import GenerationRequest, Increment, SamplingParams
from tritone.local.tts import TTS, LocalStages
from tritone.synthesis.limits import Limits
from tritone.synthesis.pipeline import Settings
from tritone_client import SpeechClient, SpeechError, Utterance

pytestmark = pytest.mark.server


def test_a_vocoder_that_is_silent_keeps_the_server_from_being_ready(tmp_path: Path) -> None:
    model = damaged(tmp_path, VOCODER, scaled("conv_post.weight", 0))
    command = [sys.executable, "-m", "tritone", "serve", "--no-gateway", "--no-warm-up"]
    command += ["--port-base", str(free_ports()["http_port"])]
    command += ["--model", str(model), "--cache-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=2 * HANG_S)
    assert done.returncode == 3 and "ready" not in done.stdout, done.stdout + done.stderr
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert (
        "golden sample, 'Fresh bread is sold at noon.' in the voice heart: silence is -8" in error
    )
    assert "expected speech above -50 dBFS" in error and "--no-golden" in error


def codes_of(said: Utterance) -> list[int]:
    """What the language model says for it, where all is well."""
    stages = LocalStages(EMBEDDED, Limits())
    plain, codes = stages.generate, list[int]()

    class Noted:
        def __init__(self, request: GenerationRequest) -> None:
            self._generation = plain(request)
            self.cancel = self._generation.cancel

        def __iter__(self) -> Iterator[Increment]:
            for increment in self._generation:
                codes.extend(increment.ids)
                yield increment

    stages.generate = Noted  # type: ignore[method-assign]
    sampling = SamplingParams(seed=said.seed)
    list(TTS(stages, Settings()).stream(said.text, voice=said.voice, sampling=sampling))
    stages.llm.close()
    return codes


def test_a_language_model_that_breaks_in_mid_sentence_is_an_error(tmp_path: Path) -> None:
    """What follows a code that had not been said before has no number."""
    said = Utterance(SENTENCE, voice="heart", seed=1)
    codes = codes_of(said)
    poison = next(c for place, c in enumerate(codes) if place > 45 and c not in codes[:place])

    def change(weights: Weights) -> None:
        rows = weights["model.embed_tokens.weight"].float()
        rows[poison] = np.nan
        weights["model.embed_tokens.weight"] = rows

    model, heard = damaged(tmp_path, LANGUAGE_MODEL, change), []
    settings = ServerSettings(model_dir=model, cache_dir=tmp_path, **free_ports())
    with TritonServer(settings) as server, SpeechClient(server.urls.grpc) as client:
        server.wait_ready()
        with pytest.raises(
            SpeechError, match=r"^INTERNAL: tensorrt_llm: the largest logit is nan$"
        ):
            heard.extend(client.stream(said))
        assert heard and is_speech(np.concatenate(heard)), "what came before is not lost"
        wait_until_free(server)
        scrape = lambda: Scrape(text_of(server.urls.metrics))  # noqa: E731
        wait_until(lambda: scrape().of("tritone_requests_total", outcome="failed") == 1)


def test_values_that_are_not_finite_are_an_error_and_counted(tmp_path: Path) -> None:
    """Up to four attempts, as the machine has time for, of which nothing leaves."""
    model = damaged(tmp_path, VOCODER, scaled("conv_pre.weight", 1e38))
    settings = ServerSettings(model_dir=model, cache_dir=tmp_path, **free_ports())
    with TritonServer(settings) as server, SpeechClient(server.urls.grpc) as client:
        server.wait_ready()
        heard = []
        with pytest.raises(
            SpeechError, match="vocoder: gave samples that are not finite"
        ) as raised:
            heard.extend(client.stream(Utterance(SHORT, seed=1)))
        assert raised.value.status == "INTERNAL" and not heard

        def counted() -> Scrape | None:
            scrape = Scrape(text_of(server.urls.metrics))
            return scrape if scrape.of("tritone_requests_total", outcome="failed") else None

        scrape = wait_until(counted)
        found = scrape.of("tritone_flaws_total", kind="not_finite")
        assert 1 <= found <= 4 and scrape["tritone_retries_total"] == found - 1
        assert scrape["tritone_packets_total"] == 0
