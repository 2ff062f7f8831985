"""What cheaper ways to run a model change, against float32 and the checkpoint's own settings, and
how far each ODE solver is from the true solution.

The same codes and the same noise go through each way. Differences of log-mel are given in dB.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.figures import Figure, figure
from tritone.acoustic.flow_stage import FlowStage
from tritone.acoustic.placement import FlowSettings, VocoderSettings
from tritone.acoustic.presets import AS_IT_IS, Method, Preset, SolverChoice
from tritone.acoustic.solver_config import SolverConfig
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
_TRUE_STEPS = 40  # of dpm2m: 0.03 dB from as many of ab2
_STEPS = (10, 8, 7, 6, 5, 4)


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
    """Root mean square difference of the mel of each precision and view."""
    exact = [_mel(_stage(model), each) for each in speech]
    ways = {"bf16": FlowSettings(0, dtype=torch.bfloat16)} | {
        f"{left} chunks in view": FlowSettings(left, dtype=torch.float32) for left in (4, 2)
    }
    return [
        figure(
            f"flow, {name}: difference of the mel",
            "dB",
            _differences(_stage(model, settings), speech, exact),
        )
        for name, settings in tqdm(ways.items(), "flow")
    ]


def of_solvers(model: Model, speech: Sequence[Spoken]) -> list[Figure]:
    """Root mean square error of the mel of each ODE solver, against the true solution."""
    true = _stage(model, solver=SolverChoice(solver="dpm2m", ode_steps=_TRUE_STEPS))
    exact = [_mel(true, each) for each in speech]
    presets = [SolverChoice(preset) for preset in get_args(Preset)]
    asked = presets + [
        SolverChoice(solver=solver, ode_steps=steps, guided_from=first, guided_steps=guided)
        for steps in _STEPS
        for solver in get_args(Method)
        for first, guided in ((1, steps), (2, steps - 1), (1, steps - 1))
    ]
    return [
        figure(
            _name(choice, choice.of(model.config.flow.solver)),
            "dB",
            _differences(_stage(model, solver=choice), speech, exact),
        )
        for choice in tqdm(asked, "solvers")
    ]


def _name(choice: SolverChoice, config: SolverConfig) -> str:
    """What is solved, how, and how often a frame meets the estimator on the way."""
    guided = [step + 1 for step in range(config.n_timesteps) if config.guides(step)]
    many = config.n_timesteps + len(guided)
    span = f"guided in {guided[0]} to {guided[-1]}" if guided else "not guided"
    label = f"preset {choice.preset}: " if choice.ode_steps == 0 else ""
    return f"{label}{config.solver}, {config.n_timesteps} steps, {span}, {many} evaluations: error"


def _stage(
    model: Model, settings: FlowSettings = _FULL, solver: SolverChoice = AS_IT_IS
) -> FlowStage:
    config = model.family.with_solver(model.config, solver)
    return model.family.load_flow(model.folder, config, settings)


def _differences(
    stage: FlowStage, speech: Sequence[Spoken], exact: Sequence[Float32]
) -> list[float]:
    pairs = zip(speech, exact, strict=True)
    return [_rms(_mel(stage, each) - mel) * _DB for each, mel in pairs]


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
