"""IndexTTS2's section of config.json: every number of a checkpoint. It needs no torch."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from tritone.config import Count, ModelConfig, Size
from tritone.families.indextts2.acoustic_config import FlowConfig, VocoderConfig
from tritone.families.indextts2.emotion_model_config import EmotionModelConfig
from tritone.families.indextts2.gpt_config import DrawingConfig, GptConfig
from tritone.families.indextts2.reference_config import (
    FBANK_BINS,
    MEL_BINS,
    MEL_HOP,
    SAMPLE_RATE,
    STACKED,
    ReferenceConfig,
)

EmotionExamples = Annotated[tuple[Count, ...], Field(min_length=8, max_length=8)]


class IndexTTS2Config(ModelConfig):
    """gpt: the language model, drawing: how its codes are drawn. reference: what reads recordings.
    emotions: example speakers of each, in the order of `emotion.EMOTIONS`. emotion_model: what
    reads them out of texts, where the release had it.

    The parts of a checkpoint were made for each other, and the features of a recording are those
    that they were trained with: numbers that do not agree are refused.
    """

    family: Literal["indextts2"] = "indextts2"
    sample_rate: Size = SAMPLE_RATE
    gpt: GptConfig
    drawing: DrawingConfig
    reference: ReferenceConfig
    emotions: EmotionExamples
    emotion_model: EmotionModelConfig | None = None
    flow: FlowConfig
    vocoder: VocoderConfig

    @property
    def llm(self) -> GptConfig:
        return self.gpt

    @property
    def sampling(self) -> DrawingConfig:
        return self.drawing

    @field_validator("drawing")
    @classmethod
    def _streamed(cls, drawing: DrawingConfig) -> DrawingConfig:
        if drawing.beams != 1:
            raise ValueError(
                f"beams is {drawing.beams}; a beam search cannot be streamed: it must be 1"
            )
        return drawing

    @model_validator(mode="after")
    def _agree(self) -> Self:
        for name, one, other in (*self._between_parts(), *self._with_recordings()):
            if one != other:
                raise ValueError(f"{name} are {one} and {other}; they must be equal")
        return self

    def _between_parts(self) -> Iterator[tuple[str, int, int]]:
        gpt, reference, flow = self.gpt, self.reference, self.flow
        bert, codec, speaker = reference.w2v_bert, reference.codec, reference.speaker
        content = flow.regulator.in_channels
        yield "gpt.features and reference.w2v_bert.width", gpt.features, bert.width
        yield "reference.codec.width and reference.w2v_bert.width", codec.width, bert.width
        yield "flow.regulator.in_channels and reference.codec.width", content, codec.width
        yield "reference.codec.codes and gpt.codes", codec.codes, gpt.codes
        yield "flow.codes and gpt.codes", flow.codes, gpt.codes
        yield "flow.latent_width and gpt.width", flow.latent_width, gpt.width
        yield "flow.style and reference.speaker.width", flow.style, speaker.width
        yield "vocoder.mel and flow.mel", self.vocoder.mel, flow.mel

    def _with_recordings(self) -> Iterator[tuple[str, int, int]]:
        """What is computed of a recording has sizes of its own."""
        frame, inputs = self.vocoder.samples_per_frame, self.reference.w2v_bert.inputs
        bins = self.reference.speaker.bins
        yield "sample_rate and that of a recording's mel", self.sample_rate, SAMPLE_RATE
        yield "flow.mel and the bins of a recording's mel", self.flow.mel, MEL_BINS
        yield "samples of the vocoder's frames and of a recording's", frame, MEL_HOP
        yield "reference.w2v_bert.inputs and what it gets", inputs, STACKED * FBANK_BINS
        yield "reference.speaker.bins and what it gets", bins, FBANK_BINS
