"""Stage 'flow' of CosyVoice3: train its diffusion transformer as CosyVoice2's flow is trained.

There is no encoder: what is held close to the mel is the look-ahead layer's output.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from training.codebook import CodeBook
from training.config import VoiceConfig, of_kind
from training.factored import FactoredTable, code_features
from training.loop import Training, in_float32, trained_state
from training.train_flow import FlowTraining, Masks, TrainedNetwork
from tritone.families.cosyvoice3.config import FlowConfig
from tritone.families.cosyvoice3.estimator import BLOCK_SHIFTS
from tritone.families.cosyvoice3.flow import FlowNetwork

GATES = (2, 5)  # of a block's shifts


class TrainedDiT(TrainedNetwork):
    """CosyVoice3's."""

    def __init__(self, config: FlowConfig, book: CodeBook) -> None:
        super().__init__()
        self.flow = FlowNetwork(config)
        self.flow.token_embedding.requires_grad_(False)
        self.codes = FactoredTable(code_features(codes=book.nearest), config.output_size, 1.0)
        estimator = self.flow.estimator
        # The stream between the blocks and the last layer stay in float32.
        estimator.position.register_forward_hook(lambda _layer, _inputs, output: output.float())
        in_float32(estimator.final_projection)
        for block in estimator.blocks:
            _open(block)

    @property
    def outputs(self) -> tuple[nn.Linear, nn.Linear]:
        return self.flow.lookahead.back, self.flow.estimator.final_projection

    def prior(self, embedded: Tensor, context: Tensor, masks: Masks) -> Tensor:
        x, _ = self.flow.lookahead(embedded, context, None)
        return x.repeat_interleave(self.flow.config.token_mel_ratio, dim=1)  # type: ignore[no-any-return]

    def speaker(self, vectors: Tensor) -> Tensor:
        return self.flow.speaker_projection(vectors)  # type: ignore[no-any-return]

    def velocity(self, x: Tensor, t: Tensor, mask: Tensor | None) -> Tensor:
        estimator = self.flow.estimator
        return estimator(x, estimator.time_shifts(t), visible=mask)  # type: ignore[no-any-return]

    @torch.no_grad()
    def folded(self) -> FlowNetwork:
        """The flow alone, with a plain table."""
        self.flow.token_embedding.weight.copy_(self.codes())
        return self.flow


@torch.no_grad()
def _open(block: nn.Module) -> None:
    """Begin with a plain transformer's block: nothing depends on the time, gates are open."""
    time = block.get_submodule("time")
    nn.init.zeros_(time.get_parameter("weight"))
    gates = torch.zeros_like(time.get_parameter("bias")).view(BLOCK_SHIFTS, -1)
    gates[list(GATES)] = 1.0
    time.get_parameter("bias").copy_(gates.flatten())
    for name in ("output", "contract"):
        nn.init.normal_(block.get_parameter(f"{name}.weight"), std=0.02)


def _trained_dit(work: Path, voice: VoiceConfig) -> TrainedDiT:
    return TrainedDiT(of_kind(FlowConfig, voice.flow.model), CodeBook.read(work))


def train(work: Path, voice: VoiceConfig) -> None:
    run = FlowTraining(work, voice, _trained_dit)
    Training(work / "flow", run.model, voice.flow.loop).run(run.losses, run.validate)


def load_dit(work: Path, voice: VoiceConfig) -> FlowNetwork:
    trained = _trained_dit(work, voice)
    trained.load_state_dict(trained_state(work / "flow"))
    return trained.folded().eval()
