"""The contract of a model family: all that the other rooms ask of it.

A family is a folder `families/<name>/` whose `__init__` has one value, `FAMILY`, of a subclass of
`Family`. Importing it, its `config` and its rules must not import torch: the orchestrator has none.
What the doctor examines of it stands beside it in `doctor.py`, as CHECKS.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from tritone.acoustic.presets import AS_IT_IS, SolverChoice
from tritone.arrays import Float32, Int32
from tritone.config import ModelConfig
from tritone.errors import EnvironmentProblem, ModelDirectoryError
from tritone.synthesis.limits import Limits
from tritone.synthesis.rules import Hops, SpeechRules
from tritone.synthesis.values import Segment, SynthesisRequest, TextBlock
from tritone.voice import Voice

if TYPE_CHECKING:
    from tritone.acoustic.flow_stage import FlowStage
    from tritone.acoustic.placement import FlowSettings, VocoderSettings
    from tritone.acoustic.vocoder_stage import VocoderStage
    from tritone.checkpoints.conversion import ConvertOptions
    from tritone.checkpoints.licences import Licence
    from tritone.checkpoints.release import Release
    from tritone.engines.sources import GraphSource
    from tritone.frontend.text.settings import TextSettings
    from tritone.llm.config import LanguageModelConfig
    from tritone.llm.contract import Prompt
    from tritone.llm.runtimes import Runtime
    from tritone.loading.needs import Need

ConfigT = TypeVar("ConfigT", bound=ModelConfig)


class Frontend(Protocol):
    """A request to segments. Loaded once a process; safe to use from several threads."""

    def prepare(self, request: SynthesisRequest) -> Iterator[Segment]:
        """Segments in speaking order, each made when it is asked for; at least one.

        Raises InvalidRequest before or with the first segment, and not after it.
        """

    def voice_of(self, request: SynthesisRequest) -> tuple[Voice, bool]:
        """The voice that speaks (reference, registered or default), and whether it was ready."""

    def block(self, request: SynthesisRequest, index: int, voice: Any) -> TextBlock:
        """Block `index` of the text; raises InvalidRequest for one beyond its end."""

    def warm_up(self) -> None:
        """Run the text part once: what it needs is loaded on first use."""


class VoiceMaker(Protocol):
    """Recordings to voices. Loaded once a process; safe to use from several threads."""

    def spoken(self, transcript: str) -> str:
        """A transcript as it is spoken. Raises InvalidRequest (reference_text)."""

    def voice(self, wav: Float32, rate: int, transcript: str) -> tuple[Voice, tuple[str, ...]]:
        """The same voice as a request gets that brings (N,) samples at `rate` Hz as its reference,
        and notes on what was done. Raises InvalidRequest (reference_wav, reference_text)."""

    def likeness(self, wav: Float32, rate: int) -> float | None:
        """Of the speakers in it, as `tritone.frontend.audio.speakers` measures it."""


class Family(ABC, Generic[ConfigT]):
    """name: as in config.json, the folder's own, and the name of the public Triton model.

    config: the class that reads the section of config.json. voice: a speaker; opaque to all other
    rooms. checks_shapes: whether `check_shapes` looks at anything.
    """

    name: ClassVar[str]
    config: type[ConfigT]
    voice: ClassVar[type[Any]]
    checks_shapes: ClassVar[bool] = False

    @property
    def licences(self) -> "Sequence[Licence]":
        """Of the released files, where some have to be accepted."""
        return ()

    @property
    def releases(self) -> "Sequence[Release]":
        """What can be fetched from the hubs."""
        return ()

    @abstractmethod
    def language_model(self, config: ConfigT) -> "LanguageModelConfig":
        """The numbers of the language model: a `SpokenConfig` where runtimes of ours run it."""

    @abstractmethod
    def example_prompt(self, config: ConfigT, text_ids: Int32) -> "Prompt":
        """A prompt of the language model around some text ids, for warm-ups and checks."""

    def runtime(self, usual: "Runtime") -> "Runtime":
        """What runs the language model where `usual` would, the one of a profile; raises
        EnvironmentProblem for a profile that cannot."""
        return usual

    @abstractmethod
    def rules(self, config: ConfigT, hops: Hops) -> SpeechRules:
        """Rates, planner and guard; raises EnvironmentProblem for hops that cannot be."""

    @abstractmethod
    def load_frontend(
        self, model_dir: Path, config: ConfigT, limits: Limits, text: "TextSettings"
    ) -> Frontend:
        """Raises ModelDirectoryError for a missing or damaged file, as the other loaders do."""

    @abstractmethod
    def load_flow(self, model_dir: Path, config: ConfigT, settings: "FlowSettings") -> "FlowStage":
        """Tokens to acoustic frames."""

    @abstractmethod
    def load_vocoder(
        self, model_dir: Path, config: ConfigT, settings: "VocoderSettings"
    ) -> "VocoderStage":
        """Acoustic frames to samples."""

    @abstractmethod
    def convert(self, released: Path, model_dir: Path, options: "ConvertOptions") -> Iterator[str]:
        """Convert released files and verify the result; yields one line for each part verified.

        Raises ModelDirectoryError naming the file at fault.
        """

    def recognises(self, released: Path) -> bool:
        """Whether a folder looks like released files of this family."""
        return False

    def with_solver(self, config: ConfigT, choice: SolverChoice) -> ConfigT:
        """The configuration with the ODE solver that is asked for.

        Raises EnvironmentProblem for a name that is unknown or a count that cannot be, and for
        anything where the family has no solver.
        """
        if choice != AS_IT_IS:
            raise EnvironmentProblem(f"{choice} is asked for, and {self.name} has no ODE solver")
        return config

    def memory(
        self, model_dir: Path, profile: str, language_model: Mapping[str, Any]
    ) -> "Sequence[Need]":
        """The main memory that loading and one stream take, by part; nothing where that is not
        known.

        profile: where it runs, as for `tritone serve`. language_model: parameters of its runtime,
        as far as somebody set them; with `url` another server has it. Raises ModelDirectoryError
        for a file of weights that is missing or cut short."""
        return ()

    def check_shapes(self, model_dir: Path, config: ConfigT) -> None:
        """Compare all weights with the configuration, by the headers of their files alone. Imports
        torch. Raises ModelDirectoryError that names each that does not fit."""

    def graph_source(self, model_dir: Path, config: ConfigT) -> "GraphSource | None":
        """What is exported to ONNX and TensorRT; None where nothing is."""
        return None

    def voice_fault(self, config: ConfigT, voice: Any) -> str:
        """What is wrong with a registered voice for this checkpoint; empty if nothing."""
        return ""

    def encoders(self, model_dir: Path) -> str:
        """Digest of the models that turn recordings into voices; empty where there are none. A
        voice made by others is not spoken with."""
        return ""

    def load_voice_maker(self, model_dir: Path, config: ConfigT) -> VoiceMaker:
        """What makes voices; raises ModelDirectoryError where the model directory cannot."""
        raise ModelDirectoryError(f"{model_dir}: {self.name} makes no voices of recordings")

    def import_voices(self, path: Path, model_dir: Path, config: ConfigT) -> Mapping[str, Voice]:
        """All voices of a file of the upstream project, by id; nothing in it is run.

        Raises ModelDirectoryError for what it does not hold.
        """
        raise ModelDirectoryError(f"{path}: {self.name} has no such files of voices")


@dataclass(frozen=True)
class Model:
    """An opened model directory: the family that it names, and its configuration."""

    folder: Path
    family: Family[Any]
    config: Any

    @property
    def language_model(self) -> "LanguageModelConfig":
        return self.family.language_model(self.config)
