"""A released CosyVoice2 directory to a model directory. CosyVoice3's takes the same steps."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ValidationError
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from tritone.acoustic.solver_config import SolverConfig
from tritone.acoustic.weights import check_fit, outline
from tritone.checkpoints.atomic_write import write_bytes, write_json, written_whole
from tritone.checkpoints.conversion import ConvertOptions, Step, run_steps
from tritone.checkpoints.plain_yaml import YamlValues
from tritone.checkpoints.torch_file import plain_tensors
from tritone.compute import DTYPES
from tritone.config import CONFIG_NAME, ModelConfig, Strict
from tritone.errors import ModelDirectoryError
from tritone.families.cosyvoice2 import released_files as names
from tritone.families.cosyvoice2 import released_model
from tritone.families.cosyvoice2.acoustics import FLOW_FILE, VOCODER_FILE
from tritone.families.cosyvoice2.config import (
    CosyVoice2Config,
    PromptConfig,
    SpeechIds,
    TextConfig,
)
from tritone.families.cosyvoice2.encoder_files import SPEAKER_ENCODER_NAME, SPEECH_TOKENIZER_NAME
from tritone.families.cosyvoice2.flow import FlowNetwork
from tritone.families.cosyvoice2.hift import HiFT
from tritone.families.cosyvoice2.merge_llm import copy_merged, merge_llm
from tritone.families.cosyvoice2.released_model import StrictT
from tritone.families.cosyvoice2.released_tokenizer import END_OF_PROMPT, build_base_tokenizer
from tritone.families.cosyvoice2.transcript import LISTENER_NAME
from tritone.families.cosyvoice2.voice import Decode, Voice, import_spk2info
from tritone.frontend.text.pronounce import PHONEMES_NAME
from tritone.frontend.text.tokenizer import TOKENIZER_NAME, TextTokenizer
from tritone.frontend.voices import save_voice
from tritone.llm.checkpoint import WEIGHTS_NAME
from tritone.llm.config import SamplingConfig
from tritone.llm.slots.opening import ensure_graph

SAMPLE_RATE = 24000

Parts = tuple[Strict, dict[str, Tensor], Callable[[], nn.Module]]
"""The numbers of a network, its weights under our names, and what builds it."""


def copied(layout: names.Layout) -> dict[str, str]:
    """Released files that are taken as they are, and what we call them."""
    return {
        layout.speech_tokenizer: SPEECH_TOKENIZER_NAME,
        names.SPEAKER_ENCODER: SPEAKER_ENCODER_NAME,
        names.PHONEMES: PHONEMES_NAME,
        names.LISTENER: LISTENER_NAME,
    }


class Extras(Strict):
    """`tritone.json`: numbers that upstream's files have no place for."""

    sampling: SamplingConfig | None = None
    solver: SolverConfig | None = None
    text: TextConfig | None = None
    text_heads: tuple[tuple[int, int], ...] = ()
    prompt: PromptConfig = PromptConfig()
    free_phase: bool = False
    default_voice: str | None = None


class Conversion:
    """The steps from one source to one model directory."""

    config: ClassVar[type[ModelConfig]] = CosyVoice2Config
    extras: ClassVar[type[Extras]] = Extras

    def __init__(self, source: names.Source, target: Path, options: ConvertOptions) -> None:
        self._source, self._target, self._options = source, target, options
        self._copied = copied(source.layout)
        with self._advice():
            self._values = YamlValues(source.folder / source.layout.yaml)
            self._extras = self._read_extras()

    def run(self) -> ModelConfig:
        """Convert what is not converted yet and write config.json last.

        Raises ModelDirectoryError for anything in the source that is not as it should be.
        """
        (self._target / "voices").mkdir(parents=True, exist_ok=True)
        with self._advice():
            results = run_steps(self._steps(), self._target)
        content = {
            "sample_rate": SAMPLE_RATE,
            "default_voice": self._default_voice(results["voices"]["names"]),
            "text": self._extras.text or self._text_config(),
            "prompt": self._extras.prompt,
            "sampling": self._extras.sampling or released_model.sampling_config(self._values),
            "llm": {**results["language model"], "text_heads": self._extras.text_heads},
            "flow": results["flow"],
            "vocoder": results["vocoder"],
        }
        config: Any = self.config.model_validate(content)
        write_json(self._target / CONFIG_NAME, config.to_content())
        for precision in self._options.graphs:
            ensure_graph(self._target, config, precision)
        return config  # type: ignore[no-any-return]

    def _steps(self) -> list[Step]:
        source, target = self._source, self._target
        options = (str(self._options.dtype),)
        extras = source.inputs(names.EXTRAS)
        merged = [source.merged_llm / WEIGHTS_NAME] if source.merged_llm else []
        yaml, base = source.inputs(source.layout.yaml), source.inputs(names.BASE_LLM)
        llm, flow, hift = (source.inputs(n) for n in (names.LLM, names.FLOW, names.HIFT))
        copies = [target / ours for name, ours in self._copied.items() if source.has(name)]
        weights = [target / "llm" / WEIGHTS_NAME]
        return [
            Step("text", self._text, base, [target / TOKENIZER_NAME]),
            Step("language model", self._llm, [*llm, *merged, *base], weights, options),
            Step("flow", self._flow, [*flow, *yaml, *extras], [target / FLOW_FILE], options),
            Step(
                "vocoder", self._vocoder, [*hift, *yaml, *extras], [target / VOCODER_FILE], options
            ),
            Step("front end", self._copies, source.inputs(*self._copied), copies),
            Step("voices", self._voices, [*source.inputs(names.VOICES), *base], []),
        ]

    def _text(self) -> dict[str, Any]:
        tokenizer = self._tokenizer(self._source.folder / names.BASE_LLM)
        write_bytes(self._target / TOKENIZER_NAME, tokenizer.to_str(pretty=False).encode())
        return {}

    def _llm(self) -> dict[str, Any]:
        text_ids = TextTokenizer(self._target / TOKENIZER_NAME).size
        config = self._merged_llm(self._target / "llm", text_ids)
        if config.speech_offset != text_ids:
            raise ModelDirectoryError(
                f"{self._source.merged_llm} has {config.speech_offset} text ids and the "
                f"tokenizer of {self._source.folder} {text_ids}: they do not belong together"
            )
        return config.model_dump(mode="json")

    def _flow(self) -> dict[str, Any]:
        config, state, network = self._flow_parts(_read_state(self._source.folder / names.FLOW))
        check_fit(outline(network, names.FLOW), state, names.FLOW)
        self._save(state, FLOW_FILE)
        return config.model_dump(mode="json")

    def _vocoder(self) -> dict[str, Any]:
        released = _read_state(self._source.folder / names.HIFT)
        stored = next(iter(released.values())).dtype
        # Half precision would lose bits in the norm.
        config, state, network = self._vocoder_parts({k: v.float() for k, v in released.items()})
        check_fit(outline(network, names.HIFT), state, names.HIFT)
        self._save({key: value.to(stored) for key, value in state.items()}, VOCODER_FILE)
        return config.model_dump(mode="json")

    # What differs between the generations.

    def _text_config(self) -> Strict:
        instructs = TextTokenizer(self._target / TOKENIZER_NAME).knows(END_OF_PROMPT)
        return TextConfig(instruct_end=END_OF_PROMPT if instructs else "")

    def _tokenizer(self, base: Path) -> Tokenizer:
        return build_base_tokenizer(base)

    def _merged_llm(self, folder: Path, text_ids: int) -> SpeechIds:
        source, dtype = self._source, self._options.dtype
        if source.merged_llm:
            return copy_merged(source.merged_llm, folder, dtype=dtype)
        llm, base = source.folder / names.LLM, source.folder / names.BASE_LLM
        return merge_llm(llm, base, folder, text_ids=text_ids, dtype=dtype)

    def _flow_parts(self, released: Mapping[str, Tensor]) -> Parts:
        config = self._solved(released_model.flow_config(self._values, released))
        return config, released_model.flow_weights(released), lambda: FlowNetwork(config)

    def _vocoder_parts(self, released: Mapping[str, Tensor]) -> Parts:
        config = released_model.vocoder_config(self._values, self._extras.free_phase)
        state = released_model.vocoder_weights(released, len(config.resblock_kernel_sizes))
        return config, state, lambda: HiFT(config)

    def _import_voices(self, path: Path, decode: Decode) -> Mapping[str, Voice]:
        return import_spk2info(path, decode)

    def _solved(self, flow: StrictT) -> StrictT:
        """A flow's numbers with the solver of `tritone.json`, where that has one."""
        solver = self._extras.solver
        return flow.model_copy(update={"solver": solver}) if solver else flow

    def _copies(self) -> dict[str, Any]:
        for name, ours in self._copied.items():
            if self._source.has(name):
                with written_whole(self._target / ours) as path:
                    shutil.copyfile(self._source.folder / name, path)
        return {}

    def _voices(self) -> dict[str, Any]:
        if not self._source.has(names.VOICES):
            return {"names": []}
        tokenizer = TextTokenizer(self._target / TOKENIZER_NAME)
        voices = self._import_voices(self._source.folder / names.VOICES, tokenizer.decode)
        for name, voice in voices.items():
            save_voice(self._target / "voices" / f"{name}.safetensors", voice)
        return {"names": sorted(voices)}

    def _default_voice(self, voices: list[str]) -> str | None:
        wanted = self._extras.default_voice
        if wanted and wanted not in voices:
            raise ModelDirectoryError(
                f"{names.EXTRAS}: default_voice is {wanted!r}; {names.VOICES} has {voices}"
            )
        return wanted or (voices[0] if voices else None)

    def _read_extras(self) -> Extras:
        if not self._source.has(names.EXTRAS):
            return self.extras()
        path = self._source.folder / names.EXTRAS
        try:
            return self.extras.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise ModelDirectoryError(f"{path}: {error}") from error

    @contextmanager
    def _advice(self) -> Iterator[None]:
        """Say what to do about a file whose content is not as it should be."""
        try:
            yield
        except ModelDirectoryError as error:
            raise ModelDirectoryError(
                f"{error}. If this is a released checkpoint, the file is damaged or belongs to "
                f"another one: {self._source.layout.again}"
            ) from error

    def _save(self, state: dict[str, Tensor], name: str) -> None:
        wanted = DTYPES.get(self._options.dtype or "")
        stored = {k: v.to(wanted or v.dtype).contiguous() for k, v in state.items()}
        with written_whole(self._target / name) as path:
            save_file(stored, path)
            path.chmod(0o644)  # safetensors writes for the owner alone; servers run as another user


def _read_state(path: Path) -> dict[str, Tensor]:
    """A plain state dict; nothing in the file is run."""
    state = plain_tensors(path)
    if not all(isinstance(v, Tensor) for v in state.values()):
        raise ModelDirectoryError(f"{path} is not a plain state dict of tensors")
    return state
