"""Our language model of IndexTTS2 against a golden folder of upstream's class."""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from parity import ParityResult, close, equal
from parity.golden import Golden
from parity.gpt_sessions import generate, onnx_session, torch_session
from parity.indextts2_reference import scaled, weights_of
from tritone.acoustic.weights import load_strictly
from tritone.arrays import Float32
from tritone.families.indextts2.gpt import Gpt
from tritone.families.indextts2.gpt_beams import search
from tritone.families.indextts2.gpt_conditioning import Conditioning, merged
from tritone.families.indextts2.gpt_config import ConditionerConfig, DrawingConfig, GptConfig
from tritone.families.indextts2.gpt_drawing import said_before
from tritone.families.indextts2.gpt_generation import (
    Drawing,
    latents,
    prompt_said,
    seeded_multinomial,
)
from tritone.families.indextts2.gpt_prompter import Prompter
from tritone.families.indextts2.gpt_slots import PairedSlots
from tritone.families.indextts2.released_gpt import (
    conditioning_weights,
    decoder_weights,
    prompter_weights,
)

CONDITIONER = {
    "width": "output_size",
    "hidden": "linear_units",
    "heads": "attention_heads",
    "blocks": "num_blocks",
    "expansion": "perceiver_mult",
}
GREEDY = DrawingConfig(repetition_penalty=1.0, top_k=1)
DRAWINGS = {"greedy": GREEDY, "greedy_rp10": DrawingConfig(top_k=1), "sample": DrawingConfig()}


def gpt_config(numbers: dict[str, Any], weights: dict[str, Tensor]) -> GptConfig:
    def conditioner(name: str, latents: int, width: int) -> ConditionerConfig:
        part = {ours: numbers[name][theirs] for ours, theirs in CONDITIONER.items()}
        return ConditionerConfig(latents=latents, latent_width=width, **part)

    return GptConfig(
        features=numbers["I"],
        width=numbers["D"],
        layers=numbers["L"],
        heads=numbers["H"],
        codes=numbers["VM"] - 2,
        code_positions=len(weights["mel_pos_embedding.emb.weight"]),
        text_ids=numbers["VT"],
        text_positions=len(weights["text_pos_embedding.emb.weight"]),
        speaker=conditioner("cond", numbers["NL"], numbers["D"]),
        emotion=conditioner("emo", 1, numbers["E"]),
    )


def load_gpt(case: Golden) -> Gpt:
    weights = weights_of(case)
    gpt = Gpt(gpt_config(case.about["config"], weights)).eval()
    load_strictly(gpt, decoder_weights(weights), case.name)
    return gpt


def load_prompter(case: Golden) -> Prompter:
    weights = weights_of(case)
    prompter = Prompter(gpt_config(case.about["config"], weights)).eval()
    load_strictly(prompter, prompter_weights(weights), case.name)
    return prompter


def load_conditioning(case: Golden) -> Conditioning:
    weights = weights_of(case)
    conditioning = Conditioning(gpt_config(case.about["config"], weights)).eval()
    load_strictly(conditioning, conditioning_weights(weights), case.name)
    return conditioning


class Recorded(Drawing):
    """Keeps what codes were drawn by."""

    def __init__(self, *of_drawing: Any) -> None:
        super().__init__(*of_drawing)
        self.logits: list[Tensor] = []
        self.kept: list[Tensor] = []

    def draw(self, logits: Float32) -> int:
        self.logits.append(torch.from_numpy(logits))
        self.kept.append(self.scores(self.logits[-1]))
        return super().draw(logits)


class Given(Recorded):
    """Codes that are known."""

    def __init__(self, gpt: GptConfig, codes: Iterable[int]) -> None:
        super().__init__(gpt, DrawingConfig(), seeded_multinomial(0))
        self._codes = iter(codes)

    def draw(self, logits: Float32) -> int:
        super().draw(logits)
        return next(self._codes)


def gpt(case: Golden) -> Iterator[ParityResult]:
    yield from _prompt(case, load_conditioning(case), load_prompter(case))
    network = load_gpt(case)
    said = said_before(case["prefix_fake_ids"].tolist(), network.config.codes + 2)
    yield close("gpt, what the prompt counts as", prompt_said(network.config), said, 0.0)
    with TemporaryDirectory() as folder:
        sessions = {
            "torch": torch_session(network),
            "onnx": onnx_session(network, Path(folder), "fp32"),
        }
        for name, session in sessions.items():
            yield from _drawn(case, network, session, name)
            yield from _latents(case, network, session, name)
    yield from _at_once(case, network)
    yield from _beams(case, network)


def _prompt(case: Golden, part: Conditioning, prompter: Prompter) -> Iterator[ParityResult]:
    speaker, emotion = case["spk_cond_emb"], case["emo_cond_emb"]
    conformer = part.of_speaker.conformer
    ours = {
        "spk_subsample_out_scaled": conformer.input(speaker),
        "spk_conformer_block0_out": _first_block(part, speaker),
        "spk_conformer_out": conformer(speaker)[0],
        "spk_latents": part.speaker(speaker),
        "emo_perceiver_out": part.of_emotion(emotion)[:, 0],
        "emovec_emo": part.emotion(emotion),
        "emovec_base": part.emotion(speaker),
    }
    valid = torch.arange(case["batch_in"].shape[1]) < case["batch_lens"][:, None]
    ours["batch_latents"] = part.speaker(case["batch_in"], valid)
    ours["batch_out_mask"] = conformer(case["batch_in"], valid)[1]
    stem = "emovec_merged_alpha_"
    for name in [name for name in case.tensors if name.startswith(stem)]:
        weight = float(name.removeprefix(stem))
        ours[name] = merged(ours["emovec_base"], ours["emovec_emo"], weight)
    weight = float(_said(case, "conds", r"alpha ([.\d]+)"))
    emotion = merged(ours["emovec_base"], ours["emovec_emo"], weight)
    ours["conds"] = prompter.prefix(ours["spk_latents"], emotion)
    ours["prefix_embeds"] = prompter(ours["conds"], case["text_ids"][0].tolist())
    for name, value in ours.items():
        yield scaled(f"gpt, {name}", value, case[name])


def _first_block(part: Conditioning, x: Tensor) -> Tensor:
    found: list[Tensor] = []
    conformer = part.of_speaker.conformer
    hook = conformer.blocks[0].register_forward_hook(lambda *of_call: found.append(of_call[2]))
    conformer(x)
    hook.remove()
    return found[0]


def _drawn(
    case: Golden, network: Gpt, session: PairedSlots, runtime: str
) -> Iterator[ParityResult]:
    seed = int(_said(case, "sample_*", r"seed (\d+)"))
    for name, config in DRAWINGS.items():
        golden = case[f"{name}_codes"][0].tolist()
        drawing = Recorded(network.config, config, seeded_multinomial(seed))
        said = list(generate(session, network, case["prefix_embeds"], drawing, len(golden)))
        codes = [one.code for one in said]
        yield equal(f"gpt, {runtime}, {name}_codes", codes, _until(golden, network.config.stop))
        logits = case[f"{name}_logits"][:, : len(drawing.logits)]
        yield scaled(f"gpt, {runtime}, {name}_logits", torch.stack(drawing.logits)[None], logits)
        if (scores := case.tensors.get(f"{name}_scores")) is not None:
            scores, kept = scores[:, : len(drawing.kept)], torch.stack(drawing.kept)[None]
            what = f"gpt, {runtime}, {name}_scores, what is out"
            yield close(what, kept.isinf(), scores.isinf(), 0.0)
            left = [torch.nan_to_num(x, neginf=0.0) for x in (kept, scores)]
            yield scaled(f"gpt, {runtime}, {name}_scores", *left)


def _latents(
    case: Golden, network: Gpt, session: PairedSlots, runtime: str
) -> Iterator[ParityResult]:
    codes, prompt = case["tf_codes"][0], case["prefix_embeds"]
    given = Given(network.config, [*codes.tolist(), network.config.stop])
    said = list(generate(session, network, prompt, given, len(codes) + 1))
    name = "tf_prefill_and_step_logits"
    yield scaled(f"gpt, {runtime}, {name}", torch.stack(given.logits)[None], case[name])
    step_by_step = torch.from_numpy(np.stack([one.latent for one in said]))[None]
    yield scaled(f"gpt, {runtime}, latents beside the codes", step_by_step, case["latents"])


def _at_once(case: Golden, network: Gpt) -> Iterator[ParityResult]:
    codes, prompt = case["tf_codes"][0], case["prefix_embeds"]
    at_once = latents(network, prompt, codes)[None]
    yield scaled("gpt, latents at once", at_once, case["latents"])
    name = "latents_to_logits"
    yield scaled(f"gpt, {name}", network.logits(at_once), case[name])


def _beams(case: Golden, network: Gpt) -> Iterator[ParityResult]:
    prompt = case["prefix_embeds"]
    seed = int(_said(case, "beamsample3_*", r"seed\((\d+)\)"))
    for name, generator in (("beam3", None), ("beamsample3", torch.Generator().manual_seed(seed))):
        golden = case[f"{name}_codes"][0].tolist()
        found = search(network, prompt, DrawingConfig(), len(golden), generator)
        codes = equal(f"gpt, {name}_codes", found.codes, _until(golden, network.config.stop))
        score = scaled(f"gpt, {name}_score", [found.score], case[f"{name}_sequence_score"])
        for result in (codes, score):
            yield result if generator is None else replace(result, threshold=math.inf)


def _until(codes: list[int], stop: int) -> list[int]:
    return codes[: codes.index(stop)] if stop in codes else codes


def _said(case: Golden, name: str, pattern: str) -> str:
    """A number that the legend gives in words."""
    found = re.search(pattern, case.about["legend"][name])
    assert found, f"{case.name}: the legend of {name} has no {pattern}"
    return found[1]


CASES = {"gpt": gpt}
