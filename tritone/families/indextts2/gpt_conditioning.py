"""Who speaks and how, by features of recordings."""

from torch import Tensor, nn

from tritone.families.indextts2.gpt_config import ConditionerConfig, GptConfig
from tritone.families.indextts2.gpt_conformer import Conformer
from tritone.families.indextts2.gpt_perceiver import Perceiver


class Conditioner(nn.Module):
    def __init__(self, features: int, config: ConditionerConfig) -> None:
        super().__init__()
        self.conformer = Conformer(features, config)
        self.perceiver = Perceiver(config)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """x, valid: as `Conformer` takes them -> (rows, latents, latent_width)."""
        return self.perceiver(*self.conformer(x, valid))  # type: ignore[no-any-return]


class Conditioning(nn.Module):
    """Reads features of w2v-bert, (rows, n, features)."""

    def __init__(self, config: GptConfig) -> None:
        super().__init__()
        self.of_speaker = Conditioner(config.features, config.speaker)
        self.of_emotion = Conditioner(config.features, config.emotion)
        self.emotion_input = nn.Linear(config.emotion.latent_width, config.width)
        self.emotion_output = nn.Linear(config.width, config.width)

    def speaker(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """(rows, latents, width)."""
        return self.of_speaker(x, valid)  # type: ignore[no-any-return]

    def emotion(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """(rows, width)."""
        return self.emotion_output(self.emotion_input(self.of_emotion(x, valid)[:, 0]))  # type: ignore[no-any-return]


def merged(own: Tensor, other: Tensor, weight: float) -> Tensor:
    """The emotion of another recording in place of the speaker's own: 0 is none of it, 1 all."""
    return own + weight * (other - own)
