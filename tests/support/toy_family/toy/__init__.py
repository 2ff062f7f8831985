"""A family of a few dozen lines, for the tests: bytes to codes, codes to tones, tones to sines.

Nothing outside this folder knows it. Its language model is a Qwen2 with speech ids, as ever.
"""

import json
import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from typing_extensions import Self

from tritone.arrays import Int32
from tritone.checkpoints.atomic_write import write_json
from tritone.checkpoints.conversion import ConvertOptions
from tritone.config import CONFIG_NAME, ModelConfig
from tritone.errors import InvalidRequest, ModelDirectoryError
from tritone.families.contract import Family
from tritone.frontend.text.settings import TextSettings
from tritone.frontend.voices import VoiceStore, save_voice
from tritone.llm.config import LLMConfig, SamplingConfig
from tritone.llm.contract import Increment, Prompt, SamplingParams
from tritone.synthesis.limits import Limits, check
from tritone.synthesis.rules import Hops, Rates
from tritone.synthesis.values import Segment, SynthesisRequest, TextBlock, TextPiece, in_order
from tritone.voice import Arrays

if TYPE_CHECKING:
    from tritone.acoustic.flow_stage import FlowStage
    from tritone.acoustic.placement import FlowSettings, VocoderSettings
    from tritone.acoustic.vocoder_stage import VocoderStage

TOKENS_EACH = 4  # for each byte of the text
HOP = 10


class ToyConfig(ModelConfig):
    family: Literal["toy"] = "toy"
    llm: LLMConfig
    sampling: SamplingConfig = SamplingConfig()
    lowest_hz: float


class ToyVoice:
    """pitch: (1,) factor on every tone."""

    transcript = ""

    def __init__(self, pitch: float) -> None:
        self.pitch = pitch

    def to_arrays(self) -> dict[str, Any]:
        return {"pitch": np.array([self.pitch], np.float32)}

    @classmethod
    def from_arrays(cls, arrays: Arrays, transcript: str = "") -> Self:
        if "pitch" not in arrays:
            raise ValueError("pitch missing")
        return cls(float(arrays["pitch"][0]))


class ToyFrontend:
    def __init__(self, model_dir: Path, config: ToyConfig, limits: Limits) -> None:
        self._store, self._limits = VoiceStore(model_dir), limits
        self._default, self._text_ids = config.default_voice, config.llm.speech_offset

    def prepare(self, request: SynthesisRequest) -> Iterator[Segment]:
        voice, cached = self.voice_of(request)
        return in_order(lambda index: self.block(request, index, voice), voice, cached)

    def voice_of(self, request: SynthesisRequest) -> tuple[ToyVoice, bool]:
        check(request, self._limits)
        if request.reference_wav is not None:
            raise InvalidRequest("reference_wav", "the toy family clones no voices")
        return self._store.load(request.voice or str(self._default), ToyVoice), False

    def block(self, request: SynthesisRequest, index: int, voice: ToyVoice) -> TextBlock:
        words = request.text.split()
        ids = np.frombuffer(words[index].encode(), np.uint8).astype(np.int32) % self._text_ids
        piece = TextPiece(Prompt(ids), len(ids), words[index], pause=0.1 if index else 0.0)
        return TextBlock((piece,), (), more=index + 1 < len(words))

    def warm_up(self) -> None:
        pass


class ToyPlanner:
    """Hops of HOP tokens."""

    def __init__(self) -> None:
        self._tokens: list[Increment] = []

    def push(self, increment: Increment) -> None:
        self._tokens.append(increment)

    @property
    def ready(self) -> bool:
        return sum(map(len, self._tokens)) >= HOP

    def take(self, ahead: float, cost: float, *, alone: bool = False) -> Increment:
        every = self.rest()
        self._tokens = [Increment(every.ids[HOP:])]
        return Increment(every.ids[:HOP])

    def rest(self) -> Increment:
        every, self._tokens = Increment.joined(self._tokens), []
        return every


class ToyGuard:
    count = suspect = 0

    def outside(self, increment: Increment) -> None:
        return None

    def admit(self, increment: Increment) -> None:
        self.count += len(increment)

    def ended(self, target_tokens: int) -> None:
        return None


class ToyRules:
    first_frames = chunk_frames = 1000

    def __init__(self, config: ToyConfig) -> None:
        self.rates = Rates(Fraction(25), Fraction(50), Fraction(config.sample_rate))
        self._offset = config.llm.speech_offset

    def token_bounds(self, target_tokens: int) -> tuple[int, int]:
        return TOKENS_EACH * target_tokens, TOKENS_EACH * target_tokens

    def codes(self, increment: Increment) -> Increment:
        return Increment(increment.ids - np.int32(self._offset))

    def guard(self, segment: Segment) -> ToyGuard:
        return ToyGuard()

    def text_begins(self, segment: Segment) -> int | None:
        return None  # nothing tells what its tokens are said for

    def continued(self, prompt: Prompt, codes: Increment) -> Prompt:
        raise NotImplementedError("asked for only where it is known what is left of the text")

    def retried(self, sampling: SamplingParams) -> SamplingParams:
        return sampling

    def plan(self, voice: ToyVoice, *, streaming: bool) -> tuple[ToyPlanner, ToyVoice]:
        return ToyPlanner(), voice


class Toy(Family[ToyConfig]):
    name = "toy"
    config = ToyConfig
    voice = ToyVoice

    def language_model(self, config: ToyConfig) -> ToyConfig:
        return config

    def example_prompt(self, config: ToyConfig, text_ids: Int32) -> Prompt:
        return Prompt(np.array([1, *text_ids.tolist()], np.int32))

    def rules(self, config: ToyConfig, hops: Hops) -> ToyRules:
        return ToyRules(config)

    def load_frontend(
        self, model_dir: Path, config: ToyConfig, limits: Limits, text: TextSettings
    ) -> ToyFrontend:
        return ToyFrontend(model_dir, config, limits)

    def load_flow(
        self, model_dir: Path, config: ToyConfig, settings: "FlowSettings"
    ) -> "FlowStage":
        from tritone.families.toy.tones import ToyFlow

        from tritone.acoustic.flow_stage import FlowStage

        return FlowStage(ToyFlow(config.lowest_hz), settings)

    def load_vocoder(
        self, model_dir: Path, config: ToyConfig, settings: "VocoderSettings"
    ) -> "VocoderStage":
        from tritone.families.toy.tones import ToyVocoder

        from tritone.acoustic.vocoder_stage import VocoderStage

        return VocoderStage(ToyVocoder(config.sample_rate))

    def recognises(self, released: Path) -> bool:
        return (released / "toy.json").is_file()

    def convert(self, released: Path, model_dir: Path, options: ConvertOptions) -> Iterator[str]:
        from tritone.llm.onnx.graph import build_graph

        if not self.recognises(released):
            raise ModelDirectoryError(f"{released / 'toy.json'} is missing")
        content = json.loads((released / "toy.json").read_text())
        config = ToyConfig(sample_rate=12000, default_voice="plain", **content)
        shutil.copytree(released / "llm", model_dir / "llm", dirs_exist_ok=True)
        save_voice(VoiceStore(model_dir).path("plain"), ToyVoice(1.0))
        write_json(model_dir / CONFIG_NAME, config.to_content())
        for precision in options.graphs:
            build_graph(model_dir / "llm", config.llm, precision)
        yield f"config.json: {ToyConfig.read(model_dir).lowest_hz:g} Hz and above"


FAMILY = Toy()
