"""The flow's network: everything with weights that lies between speech codes and mel."""

import torch.nn.functional as F
from torch import Tensor, nn

from tritone.families.cosyvoice2.config import FlowConfig
from tritone.families.cosyvoice2.encoder import UpsampleEncoder
from tritone.families.cosyvoice2.estimator import Estimator


class FlowNetwork(nn.Module):
    """Embedding, encoder and projections, which make the conditions, and the velocity estimator."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.input_size)
        self.speaker_projection = nn.Linear(config.spk_embed_dim, config.output_size)
        self.encoder = UpsampleEncoder(config)
        self.mel_projection = nn.Linear(config.encoder.output_size, config.output_size)
        self.estimator = Estimator(config)

    def project_speaker(self, embedding: Tensor) -> Tensor:
        """(spk_embed_dim,) raw speaker vector -> (1, mel) condition of the estimator."""
        weight = self.speaker_projection.weight
        return self.speaker_projection(F.normalize(embedding[None].to(weight), dim=1))  # type: ignore[no-any-return]
