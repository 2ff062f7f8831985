"""Our flow and vocoder against a golden folder that upstream's classes made.

A folder holds `<case>.safetensors` with `<case>.json` beside it, and weights under upstream's
names.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from parity import ParityResult, close
from parity.golden import Golden, load_flow, load_network, load_vocoder, prompt_of
from tritone.acoustic.attention import chunk_mask
from tritone.acoustic.vocoder_stage import stretch
from tritone.acoustic.weights import load_strictly
from tritone.families.cosyvoice2.flow import Flow
from tritone.families.cosyvoice2.released_model import vocoder_weights
from tritone.families.cosyvoice2.vocoder import Vocoder
from tritone.families.cosyvoice2.voice import prompt_mel

Cases = dict[str, Callable[[Golden], Iterator[ParityResult]]]

THRESHOLD = 1e-4
F0_THRESHOLD = 1e-5  # relative
# The phase integrates f0 over 1e3 to 1e5 rad, which turns its rounding into this much of waveform.
PHASE_THRESHOLD = 5e-3


def _encoder(case: Golden) -> Iterator[ParityResult]:
    encoder = load_network(case).encoder
    numbers = case.numbers("flow")
    streaming, x = case.about["streaming"], case["x"]
    tokens = case["y"].shape[1] // numbers["token_mel_ratio"]
    masks: tuple[Tensor | None, Tensor | None] = (None, None)
    if streaming:
        chunk, ratio = numbers["chunk_size"], numbers["token_mel_ratio"]
        masks = (chunk_mask(tokens, chunk), chunk_mask(tokens * ratio, chunk * ratio))
    y = encoder(x[:, :tokens], x[:, tokens:], masks)
    yield close(case.name, y, case["y"], THRESHOLD)


def _estimator(case: Golden) -> Iterator[ParityResult]:
    estimator = load_network(case).estimator
    numbers = case.numbers("flow")
    x, mask, frames = case["x"], case["mask"], case["x"].shape[2]
    visible = mask.bool()[:, :, None, :]
    if case.about["streaming"]:
        visible = visible & chunk_mask(frames, numbers["chunk_size"] * numbers["token_mel_ratio"])
    spks = case["spks"][:, :, None].expand(-1, -1, frames)
    stacked = torch.cat([x, case["mu"], spks, case["cond"]], dim=1).mT
    y = estimator(stacked, estimator.time_shifts(case["t"]), mask.mT, visible)
    yield close(case.name, y.mT, case["y"], THRESHOLD)


def flow_full(case: Golden, flow: Flow, threshold: float = THRESHOLD) -> Iterator[ParityResult]:
    tokens = case["token"][0].long()
    mel = flow(tokens, prompt_of(case), chunked=False, finalize=True)
    yield close(case.name, mel[None], case["mel"], threshold)
    if "mid.t_steps" in case.tensors:
        times = torch.tensor([step.t for step in flow.euler.steps])
        yield close(f"{case.name} ODE times", times, case["mid.t_steps"], threshold)


def flow_stream(case: Golden, flow: Flow, threshold: float = THRESHOLD) -> Iterator[ParityResult]:
    prompt, tokens = prompt_of(case), case["token"][0].long()
    for name, golden in sorted(case.tensors.items()):
        if name.startswith("mel_prefix_"):
            prefix = tokens[: int(name.rsplit("_", 1)[1])]
            mel = flow(prefix, prompt, chunked=True, finalize=False)
            yield close(f"{case.name} {name}", mel[None], golden, threshold)
    for chunked, name in ((False, "mel_final_stream_false"), (True, "mel_final_stream_true")):
        mel = flow(tokens, prompt, chunked=chunked, finalize=True)
        yield close(f"{case.name} {name}", mel[None], case[name], threshold)
    for size in (len(tokens), 25, 7):
        state, mels = flow.start(prompt).fork(), []
        for part in torch.split(tokens, size):
            mel, state = flow.step(part, state, finalize=False)
            mels.append(mel)
        mels.append(flow.step(tokens[:0], state, finalize=True)[0])
        mel = torch.cat(mels, dim=1)[None]
        name = f"{case.name} incremental, {size} tokens a call"
        yield close(name, mel, case["mel_final_stream_true"], threshold)


def _hift_f0(case: Golden) -> Iterator[ParityResult]:
    f0 = load_vocoder(case).network.f0(case["mel"])
    result = close(case.name, f0, case["f0"], F0_THRESHOLD, "relative")
    yield replace(result, error=result.error / float(case["f0"].abs().max()))


def _zero_noise(frames: int, vocoder: Vocoder) -> Tensor:
    config = vocoder.config
    return torch.zeros(1, frames * config.samples_per_frame, config.nb_harmonics + 1)


def _hift_source(case: Golden) -> Iterator[ParityResult]:
    vocoder = load_vocoder(case)
    source, _ = vocoder.source(case["f0"], _zero_noise(case["f0"].shape[1], vocoder))
    yield close(case.name, source[:, None], case["source"], THRESHOLD)


def _hift_decode(case: Golden) -> Iterator[ParityResult]:
    wave = load_vocoder(case).network.decode(case["mel"], case["source"][:, 0])
    yield close(case.name, wave, case["wav"], THRESHOLD)


def _hift_recorded(case: Golden) -> Iterator[ParityResult]:
    vocoder = load_vocoder(case)
    wave = vocoder(case["mel"][0], case["sine_noise"])
    yield close(case.name, wave[None], case["wav"], PHASE_THRESHOLD, "phase")
    wave = vocoder.network.decode(case["mel"], case["source"][:, 0])
    yield close(f"{case.name}, source given", wave, case["wav"], THRESHOLD)


def _hift_zero(case: Golden) -> Iterator[ParityResult]:
    vocoder = load_vocoder(case)
    mel = case["mel"]
    wave = vocoder(mel[0], _zero_noise(mel.shape[2], vocoder))
    name = f"{case.name} end to end"
    yield close(name, wave[None], case["wav_nocache"], PHASE_THRESHOLD, "phase")
    for which in ("nocache", "cache"):
        wave = vocoder.network.decode(mel, case[f"source_{which}"][:, 0])
        yield close(f"{case.name} {which}, source given", wave, case[f"wav_{which}"], THRESHOLD)


def _driver(case: Golden) -> Iterator[ParityResult]:
    """Replay upstream's streaming driver: growing prefixes, Hamming cross-fade, held-back tail."""
    flow, vocoder, prompt = load_flow(case), load_vocoder(case), prompt_of(case)
    settings, tokens = case.about["settings"], case["token"][0].long()
    fade = settings["source_cache_len"]
    window = torch.hamming_window(2 * fade, periodic=False, dtype=torch.float64)
    cached_mel, cached_wave = torch.zeros(80, 0), None
    for index, chunk in enumerate(case.about["chunks"]):
        mel = flow(
            tokens[: chunk["n"]], prompt, chunked=chunk["streaming"], finalize=chunk["finalize"]
        )
        mel = mel[:, flow.config.token_mel_ratio * chunk["token_offset"] :]
        mel = stretch(torch.cat([cached_mel, mel], dim=1), settings["speed"])
        yield close(f"{case.name} mel {index}", mel[None], case[f"hift_mel_{index}"], THRESHOLD)
        wave = vocoder.network.decode(mel[None], case[f"source_{index}"][:, 0])[0]
        if cached_wave is not None:
            head = wave[:fade] * window[:fade] + cached_wave * window[fade:]
            wave = torch.cat([head.float(), wave[fade:]])
        if not chunk["finalize"]:
            cached_mel, cached_wave = mel[:, -settings["mel_cache_len"] :], wave[-fade:]
            wave = wave[:-fade]
        name = f"{case.name} waveform {index}, source given"
        yield close(name, wave[None], case[f"wav_{index}"], THRESHOLD)


def _prompt_mel(case: Golden) -> Iterator[ParityResult]:
    mel = torch.from_numpy(prompt_mel(case["wav"][0].numpy())).mT
    yield close(case.name, mel[None], case["mel"], THRESHOLD)


CASES: Cases = {
    "encoder_": _encoder,
    "estimator_": _estimator,
    "flow_full": lambda case: flow_full(case, load_flow(case)),
    "flow_stream": lambda case: flow_stream(case, load_flow(case)),
    "hift_f0": _hift_f0,
    "hift_source": _hift_source,
    "hift_decode": _hift_decode,
    "hift_inference_recorded": _hift_recorded,
    "hift_inference_zero": _hift_zero,
    "driver_": _driver,
    "prompt_mel": _prompt_mel,
}


def cases(folder: Path) -> Iterator[ParityResult]:
    """Compare everything in a token2wav golden folder, in the order of its file names."""
    with torch.inference_mode():
        yield from compared(folder, CASES)
        yield from _checkpoint(folder)


def compared(folder: Path, known: Cases) -> Iterator[ParityResult]:
    """Compare the cases whose names begin as one that is known."""
    for name in sorted(path.stem for path in folder.glob("*.safetensors")):
        for prefix, compare in known.items():
            if name.startswith(prefix):
                yield from compare(Golden(folder, name))


def _checkpoint(folder: Path) -> Iterator[ParityResult]:
    """The same weights in upstream's own files, current and older names, must fold to the same."""
    case = Golden(folder, "hift_decode")
    if not (folder / "hift_decode.json").is_file():
        return
    residual_blocks = len(case.numbers("hift")["resblock_kernel_sizes"])
    network = load_vocoder(case).network
    for path in sorted((folder / "tiny_checkpoint").glob("hift*.pt")):
        state = torch.load(path, weights_only=True, map_location="cpu")
        load_strictly(network, vocoder_weights(state, residual_blocks), path.name)
        wave = network.decode(case["mel"], case["source"][:, 0])
        yield close(f"{path.name} names", wave, case["wav"], THRESHOLD)
