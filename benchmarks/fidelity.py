"""What cheaper ways to run a model change, against float32 and the checkpoint's own settings.

The same codes and the same noise go through each way. Differences of log-mel are given in dB.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.figures import Figure, figure
from benchmarks.full_size import AnyConfig
from tritone.acoustic.flow_stage import FlowStage
from tritone.acoustic.placement import FlowSettings, VocoderSettings
from tritone.arrays import Float32, Int32
from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.families.contract import Model
from tritone.frontend.text.settings import DEFAULT_TEXT
from tritone.llm.checkpoint import LLM_DIR, WEIGHTS_NAME, EmbeddingTable
from tritone.llm.contract import GenerationRequest, Increment, SamplingParams
from tritone.llm.onnx.slots import OnnxSlots
from tritone.llm.slots.opening import ensure_graph, open_onnx
from tritone.synthesis.limits import DEFAULT_LIMITS
from tritone.synthesis.rules import Hops
from tritone.synthesis.values import SynthesisRequest
from tritone.voice import Voice

TEXTS = (
    "The birch canoe slid on the smooth planks, and the quick brown fox jumped over the lazy dog.",
    "Glue the sheet to the dark blue background.",
    "It's easy to tell the depth of a well.",
)
_DB = 20 / math.log(10)  # of a natural logarithm of an amplitude
_PLACES = 40  # of an utterance at which logits are compared
_FULL = FlowSettings(0, dtype=torch.float32)


@dataclass(frozen=True)
class Spoken:
    """One segment: the prompt of the language model, the codes that it spoke, and the voice."""

    input_ids: Int32
    codes: Int32
    voice: Voice


def spoken(model: Model) -> list[Spoken]:
    """TEXTS as the language model speaks them."""
    family, where = model.family, (model.folder, model.config)
    frontend = family.load_frontend(*where, DEFAULT_LIMITS, DEFAULT_TEXT)
    llm = open_onnx(model.folder, model.config)
    rules, found = family.rules(model.config, Hops()), []
    try:
        for text in tqdm(TEXTS, "speaking"):
            for segment in frontend.prepare(SynthesisRequest(text=text)):
                _, longest = rules.token_bounds(segment.target_tokens)
                request = GenerationRequest(segment.prompt, 1, longest, SamplingParams(seed=1))
                generated = rules.codes(Increment.joined(list(llm.submit(request))))
                assert segment.prompt.ids is not None
                found.append(Spoken(segment.prompt.ids, generated.ids, segment.voice))
        return found
    finally:
        llm.close()


def of_flow(model: Model, speech: Sequence[Spoken]) -> list[Figure]:
    """Root mean square difference of the mel of each way."""

    def stage(settings: FlowSettings, ode_steps: int = 0, guided_steps: int = 0) -> FlowStage:
        changed = model.family.with_steps(model.config, ode_steps, guided_steps)
        return model.family.load_flow(model.folder, changed, settings)

    exact = [_mel(stage(_FULL), each) for each in speech]
    figures = []
    for name, way in tqdm(_ways(model.config).items(), "flow"):
        cheaper = stage(*way)
        pairs = zip(speech, exact, strict=True)
        found = [_rms(_mel(cheaper, each) - mel) * _DB for each, mel in pairs]
        figures.append(figure(f"flow, {name}: difference of the mel", "dB", found))
    return figures


def _ways(config: AnyConfig) -> dict[str, tuple[FlowSettings, int, int]]:
    """Settings, ODE steps and guided steps of each way; 0 for the checkpoint's."""
    steps = config.flow.solver.n_timesteps
    fewer = [round(steps * share) for share in (0.8, 0.6, 0.5, 0.4)]
    views = {f"{left} chunks in view": FlowSettings(left, dtype=torch.float32) for left in (4, 2)}
    return {
        "bf16": (FlowSettings(0, dtype=torch.bfloat16), 0, 0),
        **{name: (settings, 0, 0) for name, settings in views.items()},
        **{f"{count} of {steps} ODE steps": (_FULL, count, 0) for count in fewer},
        **{f"guided in {count} of {steps} steps": (_FULL, 0, count) for count in fewer},
    }


def of_vocoder(model: Model, speech: Sequence[Spoken]) -> list[Figure]:
    """Signal over difference of the waveform in bf16."""
    family, where = model.family, (model.folder, model.config)
    flow = family.load_flow(*where, _FULL)
    exact, short = (
        family.load_vocoder(*where, VocoderSettings(dtype=dtype))
        for dtype in (torch.float32, torch.bfloat16)
    )
    ratios = []
    for each in speech:
        mel = _mel(flow, each)
        waves = [
            stage.step(mel, stage.start(seed=0, speed=1.0), finalize=True)[0]
            for stage in (exact, short)
        ]
        ratios.append(20 * math.log10(_rms(waves[0]) / _rms(waves[1] - waves[0])))
    return [figure("vocoder, bf16: signal over difference", "dB", ratios)]


def of_language_model(
    model: Model, precisions: Sequence[str], speech: Sequence[Spoken]
) -> list[Figure]:
    """Cosine of the logits and how often the likeliest code is the same, along the utterances."""
    exact = list(_logits(model, "fp32", speech))
    figures = []
    for precision in tqdm(precisions, "language model"):
        rounded = list(_logits(model, precision, speech))
        pairs = list(zip(exact, rounded, strict=True))
        apart = [1 - float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for a, b in pairs]
        same = float(np.mean([a.argmax() == b.argmax() for a, b in pairs]))
        name = f"LLM, {precision}"
        figures.append(figure(f"{name}: 1 - cosine of the logits", "", apart))
        figures.append(figure(f"{name}: likeliest code the same", "of them", [same]))
    return figures


def _logits(model: Model, precision: str, speech: Sequence[Spoken]) -> Iterator[Float32]:
    graph, llm = ensure_graph(model.folder, model.config, precision), model.config.llm
    length = max(len(each.input_ids) + len(each.codes) for each in speech)
    session = OnnxSlots(
        model.folder / LLM_DIR,
        llm,
        precision=precision,
        slots=1,
        slot_length=length,
        graph=graph,
    )
    embedding = EmbeddingTable(Checkpoint(model.folder / LLM_DIR / WEIGHTS_NAME))
    for each in speech:
        ids = np.concatenate([each.input_ids, each.codes + llm.speech_offset])
        places = np.linspace(len(each.input_ids), len(ids), _PLACES, dtype=int)
        begin = 0
        for end in np.unique(places):
            logits = session.prefill(0, embedding(ids[begin:end].astype(np.int32)), begin)
            begin = int(end)
            yield logits[: llm.speech_codes]


def _mel(stage: FlowStage, each: Spoken) -> Float32:
    """The mel of an utterance, streamed."""
    mel, _ = stage.step(Increment(each.codes), stage.open(each.voice), finalize=True)
    return mel


def _rms(x: Float32) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))
