"""Our causal vocoder against a golden folder that upstream's CosyVoice3 classes made."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from parity import ParityResult, close
from parity.golden import SAMPLE_RATE, Golden
from tritone.acoustic.weights import load_strictly
from tritone.families.cosyvoice3.config import CosyVoice3Config, FlowConfig, VocoderConfig
from tritone.families.cosyvoice3.hift import F0Predictor, HiFT
from tritone.families.cosyvoice3.released_vocoder import vocoder_weights
from tritone.families.cosyvoice3.source_noise import SourceNoise
from tritone.families.cosyvoice3.vocoder import Noise, Vocoder

F0_THRESHOLD = 1e-9  # Hz, in float64
F0_ROUNDED_THRESHOLD = 1e-5  # Hz, a last bit of float32
SOURCE_THRESHOLD = 1e-6
THRESHOLD = 1e-4
CLIP_THRESHOLD = 2e-4  # exp near its limit magnifies rounding


def vocoder_config(case: Golden) -> VocoderConfig:
    numbers = case.numbers("hift")
    fourier = {"istft_n_fft": numbers["n_fft"], "istft_hop": numbers["hop_len"]}
    values = {**case.about["fixed_constructor_values"]["hift"], **numbers, **fourier}
    known = VocoderConfig.model_fields
    return VocoderConfig.model_validate({k: v for k, v in values.items() if k in known})


def load_vocoder(
    case: Golden, noise: Noise, released: Mapping[str, Tensor] | None = None
) -> Vocoder:
    """released: other weights than the folder's own."""
    config = vocoder_config(case)
    network = HiFT(config).eval()
    released = released or load_file(case.folder / "hift_weights.safetensors")
    load_strictly(network, vocoder_weights(released, config), "hift_weights")
    return Vocoder(network, SAMPLE_RATE, noise)


def recorded_noise(case: Golden) -> Noise:
    """The buffer that a case's recipe draws; row i belongs to sample i."""
    seed = int(case.about["noise"]["recipe"].split("manual_seed(")[1].split(")")[0])
    width = case.numbers("hift")["nb_harmonics"] + 1
    rows = torch.rand(10 * SAMPLE_RATE, width, generator=torch.Generator().manual_seed(seed))
    return lambda first, count: rows[first : first + count]


def checkpoint_noise(case: Golden) -> SourceNoise:
    """What upstream draws for a checkpoint of the case's sizes."""
    numbers = case.numbers("flow")
    flow = {key: numbers[key] for key in ("vocab_size", "spk_embed_dim")}
    return SourceNoise(
        CosyVoice3Config.model_construct(
            flow=FlowConfig.model_construct(output_size=80, **flow), vocoder=vocoder_config(case)
        )
    )


def silence(first: int, count: int) -> Tensor:
    raise AssertionError("a case whose source is given needs no noise")


def decode(vocoder: Vocoder, mel: Tensor, source: Tensor, *, finalize: bool = True) -> Tensor:
    """mel (1, mel, T) and source (1, 1, samples) -> the waveform (1, samples) from the first frame.

    Without `finalize` as upstream has it: the last frame that could be decoded is held back.
    """
    network = vocoder.network
    spectrum = network.analyse(source[:, 0])
    if finalize:
        padded = F.pad(mel, (0, network.look_right))
        return network.synthesise(vocoder.filter(padded, spectrum))
    steps = (mel.shape[2] - network.look_right) * network.steps + 1
    wave = network.synthesise(vocoder.filter(mel, spectrum[..., :steps]))
    return wave[:, : -vocoder.config.samples_per_frame]


def stream(vocoder: Vocoder, mel: Tensor, edges: list[int], *, finalize: bool = True) -> Tensor:
    """mel (mel, T) in pieces that end at `edges` -> the waveform so far, (samples,)."""
    state, waves = vocoder.start(0), []
    for begin, end in itertools.pairwise([0, *edges]):
        last = finalize and end == edges[-1]
        wave, state = vocoder.step(mel[:, begin:end], state, finalize=last)
        waves.append(wave)
    return torch.cat(waves)


def _f0(case: Golden) -> Iterator[ParityResult]:
    network, mel = load_vocoder(case, silence).network, case["mel"]
    padded = F.pad(mel, (0, F0Predictor.AHEAD))
    for name, given in (("f0", padded.double()), ("f0_nonfinal", mel.double())):
        f0 = network.f0(given, opening=True)
        yield close(f"{case.name} {name}", f0, case[name], F0_THRESHOLD)
    f0 = network.f0(padded, opening=True)
    yield close(f"{case.name} in float32", f0, case["f0_float32_cast"], F0_ROUNDED_THRESHOLD)


def _source(case: Golden) -> Iterator[ParityResult]:
    vocoder = load_vocoder(case, recorded_noise(case))
    source, _ = vocoder.source(case["f0"][0], 0, vocoder.start(0).turns)
    yield close(case.name, source[None, None], case["source"], SOURCE_THRESHOLD)


def _decode(case: Golden) -> Iterator[ParityResult]:
    vocoder, mel, source = load_vocoder(case, silence), case["mel"], case["source"]
    yield close(case.name, decode(vocoder, mel, source), case["wav"], THRESHOLD)
    wave = decode(vocoder, mel, source, finalize=False)
    yield close(f"{case.name} nonfinal", wave, case["wav_nonfinal"], THRESHOLD)


def _decode_clip(case: Golden) -> Iterator[ParityResult]:
    wave = decode(load_vocoder(case, silence), case["mel"], case["source"])
    yield close(case.name, wave, case["wav"], CLIP_THRESHOLD)


def _inference(case: Golden) -> Iterator[ParityResult]:
    """Upstream holds more frames back, so its prefixes are compared as far as they go."""
    vocoder, mel = load_vocoder(case, recorded_noise(case)), case["mel"][0]
    yield close(case.name, vocoder(mel)[None], case["wav"], THRESHOLD)
    for frames in case.about["prefixes"]:
        golden = case[f"wav_prefix_{frames}"]
        wave = stream(vocoder, mel, [frames], finalize=False)[None, : golden.shape[1]]
        yield close(f"{case.name} prefix {frames}", wave, golden, THRESHOLD)


def _checkpoint(case: Golden) -> Iterator[ParityResult]:
    noise = checkpoint_noise(case)
    golden = case["sine_noise_head"][0]
    yield close(f"{case.name} first rows", noise(0, len(golden)), golden, 0.0)
    total = noise(0, SAMPLE_RATE).double().sum()
    yield close(f"{case.name} sum", total, case.about["sine_noise_sum_first_24000_rows"], 1e-6)
    released: list[tuple[str, Mapping[str, Tensor] | None]] = [("", None)]
    for path in sorted((case.folder / "tiny_checkpoint").glob("hift*.pt")):
        released.append((f" {path.name}", torch.load(path, weights_only=True)))
    for name, weights in released:
        wave = load_vocoder(case, noise, weights)(case["mel"][0])
        yield close(f"{case.name} waveform{name}", wave[None], case["wav"], THRESHOLD)


def _driver(case: Golden) -> Iterator[ParityResult]:
    """What upstream's driver gave its vocoder, streamed in the same pieces."""
    chunks = case.about["chunks"]
    golden = torch.cat([case[f"wav_{index}"] for index in range(len(chunks))], dim=1)
    vocoder = load_vocoder(case, recorded_noise(case))
    edges = [chunk["hift_frames"] for chunk in chunks]
    wave = stream(vocoder, case["mel_last"][0], edges)
    yield close(f"{case.name} vocoder", wave[None], golden, THRESHOLD)
    wave = decode(vocoder, case["mel_last"], case["source_last"])
    yield close(f"{case.name} vocoder, source given", wave, golden, THRESHOLD)


CASES: dict[str, Callable[[Golden], Iterator[ParityResult]]] = {
    "hift_f0": _f0,
    "hift_source": _source,
    "hift_decode": _decode,
    "hift_decode_clip": _decode_clip,
    "hift_inference": _inference,
    "checkpoint_noise": _checkpoint,
    "driver_oneshot": _driver,
    "driver_oneshot_speed": _driver,
    "driver_stream": _driver,
    "driver_stream_hop25": _driver,
}


def recognises(folder: Path) -> bool:
    """Whether the folder's vocoder is this one."""
    weights = folder / "hift_weights.json"
    return weights.is_file() and "conv_pre_look_right" in weights.read_text(encoding="utf-8")


def cases(folder: Path) -> Iterator[ParityResult]:
    """Compare all of its cases that a folder holds."""
    with torch.inference_mode():
        for name, compare in CASES.items():
            if (folder / f"{name}.safetensors").is_file():
                yield from compare(Golden(folder, name))
