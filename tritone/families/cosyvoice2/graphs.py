"""What is exported of the flow: its encoder and its estimator, over a chunk and whole."""

import torch
from torch import Tensor, nn

from tritone.acoustic.attention import chunk_mask, sinusoid
from tritone.acoustic.ode import cosine_grid
from tritone.acoustic.solver import GUIDED_ROWS
from tritone.engines.sources import Graph, Profiles, Shape, Sizes
from tritone.families.cosyvoice2.code_network import CodeNetwork
from tritone.families.cosyvoice2.encoder import LOOKAHEAD_KERNEL, UPSAMPLE_KERNEL
from tritone.families.cosyvoice2.flow import FlowNetwork
from tritone.families.cosyvoice2.graph_modules import EncoderStep, EstimatorPass, EstimatorStep


def flow_graphs(network: FlowNetwork, profiles: Profiles) -> list[Graph]:
    """All graphs of a flow, float32 on the CPU."""
    kinds = (EncoderGraph, EstimatorStepGraph, EstimatorGraph, MaskedEstimatorGraph)
    return [kind(network, profiles) for kind in kinds]


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

    @torch.no_grad()
    def __init__(self, network: CodeNetwork, profiles: Profiles) -> None:
        axes = {name: getattr(profiles, name) for name in self.examples[0]}
        super().__init__(self.module_class(network.estimator), axes)
        self.network, self.estimator = network, network.estimator
        self._stages = len(self._shifts())

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        return self._shapes(GUIDED_ROWS * sizes.get("streams", 1), sizes[self.frames])

    def _shapes(self, rows: int, frames: int) -> dict[str, Shape]:
        width = self.estimator.mel_bins + self.estimator.condition_channels
        shifts = (self._stages, self.estimator.channels)
        return {"x": (rows, frames, width), "shifts": shifts}

    @torch.no_grad()
    def sample(self, sizes: Sizes, seed: int) -> dict[str, Tensor]:
        streams, draw = sizes.get("streams", 1), torch.Generator().manual_seed(seed)
        return self._inputs(streams, sizes[self.frames], draw)

    def _inputs(
        self, streams: int, frames: int, draw: torch.Generator, past: int = 0
    ) -> dict[str, Tensor]:
        """x of drawn codes and speakers, without prompt, and the shifts of a step midway. past:
        frames of the stream before these."""
        network, config = self.network, self.network.config
        count = -(-frames // config.token_mel_ratio)
        codes = torch.randint(config.vocab_size, (streams, count), generator=draw)
        features = [network.encode(row, row[:0], (None, None)) for row in codes]
        mu = torch.stack(features)[:, :frames]
        vectors = torch.randn(streams, config.spk_embed_dim, generator=draw)
        speakers = torch.stack([network.project_speaker(vector) for vector in vectors])
        given = torch.cat([mu, speakers.expand(-1, frames, -1), torch.zeros_like(mu)], dim=2)
        noise = torch.randn(mu.shape, generator=draw).repeat(GUIDED_ROWS, 1, 1)
        x = torch.cat([noise, torch.cat([given, torch.zeros_like(given)])], dim=2)
        return {"x": x, "shifts": torch.cat(self._shifts())[:, 0]}

    def _shifts(self) -> list[Tensor]:
        steps = self.network.config.solver.n_timesteps
        midway = cosine_grid(steps)[steps // 2 : steps // 2 + 1]
        return self.estimator.time_shifts(midway.to(self.estimator.device))


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
        visible = chunk_mask(frames, self.estimator.chunk_frames) & (given[:, None] > 0)
        return {**super().sample(sizes, seed), "given": given, "visible": visible}


class EstimatorStepGraph(EstimatorGraph):
    """The estimator over one chunk. See `EstimatorStep`."""

    name = "estimator_step"
    served = True
    outputs = ("velocity", "next_tails", "new_frames")
    caches = frozenset({"cache", "new_frames"})
    frames = "chunk_frames"
    examples = (
        {"streams": 2, "chunk_frames": 50, "past_frames": 71},
        {"streams": 1, "chunk_frames": 23, "past_frames": 101},
    )
    module_class: type[nn.Module] = EstimatorStep

    def shapes(self, sizes: Sizes) -> dict[str, Shape]:
        common, part = super().shapes(sizes), self.estimator
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
        return {**self._inputs(streams, sizes["chunk_frames"], draw, past - 1), **state}
