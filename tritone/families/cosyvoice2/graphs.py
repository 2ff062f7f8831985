"""What is exported: the flow's encoder and its estimator, over a chunk and whole; the vocoder's
pitch predictor, and its filter between the Fourier transforms."""

import numpy as np
import torch
from torch import Tensor, nn

from tritone.acoustic.attention import chunk_mask, sinusoid
from tritone.acoustic.solver import GUIDED_ROWS, ode_times
from tritone.engines.sources import Graph, Profiles, Shape, Sizes
from tritone.families.cosyvoice2.encoder import LOOKAHEAD_KERNEL, UPSAMPLE_KERNEL
from tritone.families.cosyvoice2.estimator import INPUTS
from tritone.families.cosyvoice2.flow import FlowNetwork
from tritone.families.cosyvoice2.graph_modules import EncoderStep, EstimatorPass, EstimatorStep
from tritone.families.cosyvoice2.hift import HiFT
from tritone.families.cosyvoice2.vocoder import Vocoder, frame_noise
from tritone.families.cosyvoice2.voice import PROMPT_HOP, PROMPT_RATE, prompt_mel

_PITCH = (120.0, 240.0)  # Hz at the two ends of a sample
_HARMONICS = 30
_LEVEL, _NOISE = 0.1, 0.01


def flow_graphs(network: FlowNetwork, profiles: Profiles) -> list[Graph]:
    """All graphs of a flow, float32 on the CPU."""
    kinds = (EncoderGraph, EstimatorStepGraph, EstimatorGraph, MaskedEstimatorGraph)
    return [kind(network, profiles) for kind in kinds]


def vocoder_graphs(vocoder: Vocoder, profiles: Profiles) -> list[Graph]:
    """All graphs of a vocoder, float32 on the CPU."""
    bins = FilterGraph(vocoder, profiles, VocoderFilter(vocoder.network))
    return [PitchGraph(vocoder, profiles, vocoder.network.f0), bins]


class EncoderGraph(Graph):
    """Codes of a chunk, or of everything, to mu, for one stream. See `EncoderStep`."""

    name = "flow_encoder"
    outputs = ("mu", "next_lookahead_tail", "next_upsample_tail", "new_tokens", "new_frames")
    caches = frozenset({"token_cache", "frame_cache", "new_tokens", "new_frames"})
    examples = ({"tokens": 25, "past_tokens": 29}, {"tokens": 11, "past_tokens": 51})

    def __init__(self, network: FlowNetwork, profiles: Profiles) -> None:
        axes = {"tokens": profiles.tokens, "past_tokens": profiles.past_tokens}
        super().__init__(EncoderStep(network), axes)
        self.config = network.config

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        rows, new, past = 1, sizes["tokens"], sizes["past_tokens"]
        config, part = self.config, self.config.encoder
        ratio, ahead = config.token_mel_ratio, config.pre_lookahead_len
        width, heads = part.output_size, part.attention_heads
        keys, dim = past + new, part.output_size // part.attention_heads
        return {
            "tokens": (rows, new),
            "context": (rows, ahead),
            "context_given": (rows, ahead),
            "lookahead_tail": (rows, LOOKAHEAD_KERNEL - 1, width),
            "upsample_tail": (rows, UPSAMPLE_KERNEL - 1, width),
            "token_cache": (part.num_blocks, 2, rows, heads, past, dim),
            "frame_cache": (part.num_up_blocks, 2, rows, heads, ratio * past, dim),
            "token_visible": (rows, new, keys),
            "frame_visible": (rows, ratio * new, ratio * keys),
            "token_positions": (keys + new, width),
            "frame_positions": (ratio * (keys + new), width),
        }

    def empty(self, sizes: Sizes) -> dict[str, Tensor]:
        """Inputs of the first call of a stream: nothing cached but frames that are masked."""
        inputs = {name: torch.zeros(shape) for name, shape in self.shapes(sizes).items()}
        past, ratio = sizes["past_tokens"], self.config.token_mel_ratio
        for name, hidden in (("token_visible", past), ("frame_visible", ratio * past)):
            inputs[name] = torch.ones(inputs[name].shape, dtype=torch.bool)
            inputs[name][:, :, :hidden] = False
        for name in ("token_positions", "frame_positions"):
            new = inputs[name.replace("positions", "visible")].shape[1]
            inputs[name] = sinusoid(len(inputs[name]) - new - 1, -new, inputs[name].shape[1])
        for name in ("tokens", "context"):
            inputs[name] = inputs[name].long()
        return inputs

    @torch.no_grad()
    def sample(self, sizes: Sizes, seed: int) -> dict[str, Tensor]:
        draw = torch.Generator().manual_seed(seed)
        inputs = self.empty(sizes)
        if sizes["past_tokens"] > 1:
            before = {**sizes, "tokens": sizes["past_tokens"] - 1, "past_tokens": 1}
            first = self._codes(self.empty(before), draw)
            _, *carried = self.module(**first)
            ratio = self.config.token_mel_ratio
            inputs["lookahead_tail"], inputs["upsample_tail"] = carried[:2]
            inputs["token_cache"] = torch.cat([first["token_cache"], carried[2]], dim=4)
            inputs["frame_cache"] = torch.cat([first["frame_cache"], carried[3]], dim=4)
            inputs["token_visible"][:, :, 1:] = True
            inputs["frame_visible"][:, :, ratio:] = True
        return self._codes(inputs, draw)

    def _codes(self, inputs: dict[str, Tensor], draw: torch.Generator) -> dict[str, Tensor]:
        for name in ("tokens", "context"):
            inputs[name].random_(0, self.config.vocab_size, generator=draw)
        inputs["context_given"].fill_(1.0)
        return inputs


class EstimatorGraph(Graph):
    """The estimator over a whole utterance with full attention. frames: its axis of new frames."""

    name = "estimator"
    outputs: tuple[str, ...] = ("velocity",)
    frames = "frames"
    examples = ({"frames": 60}, {"frames": 97})
    module_class: type[nn.Module] = EstimatorPass

    def __init__(self, network: FlowNetwork, profiles: Profiles) -> None:
        axes = {name: getattr(profiles, name) for name in self.examples[0]}
        super().__init__(self.module_class(network.estimator), axes)
        self.network, self.config = network, network.config

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        part = self.config.estimator
        rows = GUIDED_ROWS * sizes.get("streams", 1)
        return {
            "x": (rows, sizes[self.frames], INPUTS * self.config.output_size),
            "shifts": (part.num_mid_blocks + 2, part.channels),
        }

    @torch.no_grad()
    def sample(self, sizes: Sizes, seed: int) -> dict[str, Tensor]:
        streams, draw = sizes.get("streams", 1), torch.Generator().manual_seed(seed)
        return self._inputs(streams, sizes[self.frames], draw)

    def _inputs(self, streams: int, frames: int, draw: torch.Generator) -> dict[str, Tensor]:
        """x of drawn codes and speakers, without prompt, and the shifts of a step midway."""
        network, config = self.network, self.config
        count = -(-frames // config.token_mel_ratio)
        codes = torch.randint(config.vocab_size, (streams, count), generator=draw)
        embedded = network.token_embedding(codes)
        mu = network.mel_projection(network.encoder(embedded, embedded[:, :0]))[:, :frames]
        vectors = torch.randn(streams, config.spk_embed_dim, generator=draw)
        speakers = torch.stack([network.project_speaker(vector) for vector in vectors])
        given = torch.cat([mu, speakers.expand(-1, frames, -1), torch.zeros_like(mu)], dim=2)
        noise = torch.randn(mu.shape, generator=draw).repeat(GUIDED_ROWS, 1, 1)
        x = torch.cat([noise, torch.cat([given, torch.zeros_like(given)])], dim=2)
        midway, _ = ode_times(config.solver.n_timesteps)[config.solver.n_timesteps // 2]
        shifts = network.estimator.time_shifts(torch.tensor([midway]))
        return {"x": x, "shifts": torch.cat(shifts)[:, 0]}


class MaskedEstimatorGraph(EstimatorGraph):
    """The estimator over utterances of several lengths, or with the chunk mask."""

    name = "estimator_masked"
    frames = "batch_frames"
    examples = ({"streams": 2, "batch_frames": 70}, {"streams": 1, "batch_frames": 97})

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        common = super().shapes(sizes)
        rows, frames = common["x"][:2]
        return {**common, "given": (rows, frames), "visible": (rows, frames, frames)}

    @torch.no_grad()
    def sample(self, sizes: Sizes, seed: int) -> dict[str, Tensor]:
        """The last stream is a third shorter than the others; all have the chunk mask."""
        streams, frames = sizes["streams"], sizes["batch_frames"]
        given = torch.ones(GUIDED_ROWS, streams, frames)
        given[:, -1, frames - frames // 3 :] = 0
        given = given.flatten(0, 1)
        chunk = self.network.estimator.chunk_frames
        visible = chunk_mask(frames, chunk) & (given[:, None] > 0)
        return {**super().sample(sizes, seed), "given": given, "visible": visible}


class EstimatorStepGraph(EstimatorGraph):
    """The estimator over one chunk. See `EstimatorStep`."""

    name = "estimator_step"
    outputs = ("velocity", "next_tails", "new_frames")
    caches = frozenset({"cache", "new_frames"})
    frames = "chunk_frames"
    examples = (
        {"streams": 2, "chunk_frames": 50, "past_frames": 71},
        {"streams": 1, "chunk_frames": 23, "past_frames": 101},
    )
    module_class = EstimatorStep

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        common, part = super().shapes(sizes), self.network.estimator
        rows, past = common["x"][0], sizes["past_frames"]
        return {
            **common,
            "tails": (rows, part.tail_frames, sum(part.tail_channels)),
            "cache": (part.attention_layers, 2, rows, part.heads, past, part.head_dim),
            "visible": (rows, past + sizes["chunk_frames"]),
        }

    def empty(self, sizes: Sizes) -> dict[str, Tensor]:
        """Tails, cache and mask of the first call of a stream; the cached frames are masked."""
        shapes = self.shapes(sizes)
        visible = torch.ones(shapes["visible"], dtype=torch.bool)
        visible[:, : sizes["past_frames"]] = False
        zeros = {name: torch.zeros(shapes[name]) for name in ("tails", "cache")}
        return {**zeros, "visible": visible}

    @torch.no_grad()
    def sample(self, sizes: Sizes, seed: int) -> dict[str, Tensor]:
        draw = torch.Generator().manual_seed(seed)
        streams, past = sizes["streams"], sizes["past_frames"]
        state = self.empty(sizes)
        if past > 1:
            before = {**sizes, "chunk_frames": past - 1, "past_frames": 1}
            first = {**self._inputs(streams, past - 1, draw), **self.empty(before)}
            _, state["tails"], new = self.module(**first)
            state["cache"] = torch.cat([first["cache"], new], dim=4)
            state["visible"][:, 1:] = True
        return {**self._inputs(streams, sizes["chunk_frames"], draw), **state}


class VocoderFilter(nn.Module):
    """`HiFT.filter` as a module."""

    def __init__(self, network: HiFT) -> None:
        super().__init__()
        self.network = network

    def forward(self, mel: Tensor, spectrum: Tensor) -> Tensor:
        return self.network.filter(mel, spectrum)


class _VocoderGraph(Graph):
    examples = ({"streams": 2, "window_frames": 24}, {"streams": 1, "window_frames": 33})

    def __init__(self, vocoder: Vocoder, profiles: Profiles, module: nn.Module) -> None:
        axes = {"streams": profiles.streams, "window_frames": profiles.window_frames}
        super().__init__(module, axes)
        self.vocoder, self.config = vocoder, vocoder.config

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        return {"mel": (sizes["streams"], self.config.in_channels, sizes["window_frames"])}

    @torch.no_grad()
    def sample(self, sizes: Sizes, seed: int) -> dict[str, Tensor]:
        rows = range(sizes["streams"])
        return {"mel": torch.stack([_voiced_mel(sizes["window_frames"], seed + r) for r in rows])}


class PitchGraph(_VocoderGraph):
    """mel -> f0. In float32: the source's phase is the sum of f0 over all time."""

    name = "f0_predictor"
    outputs = ("f0",)
    half = False


class FilterGraph(_VocoderGraph):
    """mel and the source's spectrum -> log magnitude and phase. See `HiFT.filter`."""

    name = "vocoder"
    outputs = ("bins",)

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        config = self.config
        steps = config.samples_per_frame // config.istft_hop * sizes["window_frames"] + 1
        spectrum = (sizes["streams"], config.istft_n_fft + 2, steps)
        return {**super().shapes(sizes), "spectrum": spectrum}

    @torch.no_grad()
    def sample(self, sizes: Sizes, seed: int) -> dict[str, Tensor]:
        frames = sizes["window_frames"]
        f0 = torch.linspace(*_PITCH, frames)[None]
        f0[:, frames // 2 : frames // 2 + 2] = 0.0  # unvoiced
        noise = frame_noise(seed, 0, frames, self.config)
        source, _ = self.vocoder.source(f0, noise)
        spectrum = self.vocoder.network.analyse(source)
        rows = sizes["streams"]
        return {**super().sample(sizes, seed), "spectrum": spectrum.repeat(rows, 1, 1)}


def _voiced_mel(frames: int, seed: int) -> Tensor:
    """(mel, frames) of a gliding tone with its harmonics in noise: a trained predictor, which says
    nothing of a random mel, hears its pitch."""
    random, samples = np.random.default_rng(seed), frames * PROMPT_HOP
    turns = np.cumsum(np.linspace(*_PITCH, samples)) / PROMPT_RATE + random.random()
    number = np.arange(1, _HARMONICS + 1)[:, None]
    tones = (np.sin(2 * np.pi * number * turns) / number).sum(axis=0)
    wav = _LEVEL * tones + _NOISE * random.standard_normal(samples)
    return torch.from_numpy(prompt_mel(wav.astype(np.float32)).T.copy())
