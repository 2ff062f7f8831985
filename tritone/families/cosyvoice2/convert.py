"""A released CosyVoice2 directory to a model directory."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors.torch import save_file
from torch import Tensor

from tritone.acoustic.solver_config import SolverConfig
from tritone.acoustic.weights import check_fit, outline
from tritone.checkpoints.atomic_write import write_bytes, write_json, written_whole
from tritone.checkpoints.conversion import ConvertOptions, Step, run_steps
from tritone.checkpoints.plain_yaml import YamlValues
from tritone.checkpoints.torch_file import plain_tensors
from tritone.compute.device import DTYPES
from tritone.config import CONFIG_NAME, Strict
from tritone.errors import ModelDirectoryError
from tritone.families.cosyvoice2 import released_files as names
from tritone.families.cosyvoice2 import released_model
from tritone.families.cosyvoice2.acoustics import FLOW_FILE, VOCODER_FILE
from tritone.families.cosyvoice2.config import CosyVoice2Config, PromptConfig, TextConfig
from tritone.families.cosyvoice2.flow import FlowNetwork
from tritone.families.cosyvoice2.hift import HiFT
from tritone.families.cosyvoice2.merge_llm import copy_merged, merge_llm
from tritone.families.cosyvoice2.reference import SPEAKER_ENCODER_NAME, SPEECH_TOKENIZER_NAME
from tritone.families.cosyvoice2.released_tokenizer import END_OF_PROMPT, build_base_tokenizer
from tritone.families.cosyvoice2.transcript import LISTENER_NAME
from tritone.families.cosyvoice2.voice import import_spk2info
from tritone.frontend.text.pronounce import PHONEMES_NAME
from tritone.frontend.text.tokenizer import TOKENIZER_NAME, TextTokenizer
from tritone.frontend.voices import save_voice
from tritone.llm.checkpoint import WEIGHTS_NAME
from tritone.llm.config import SamplingConfig
from tritone.llm.slots.opening import ensure_graph

SAMPLE_RATE = 24000
COPIES = {
    names.SPEECH_TOKENIZER: SPEECH_TOKENIZER_NAME,
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

    def __init__(self, source: names.Source, target: Path, options: ConvertOptions) -> None:
        self._source, self._target, self._options = source, target, options
        with _advice():
            self._values = YamlValues(source.folder / names.YAML)
            self._extras = self._read_extras()

    def run(self) -> CosyVoice2Config:
        """Convert what is not converted yet and write config.json last.

        Raises ModelDirectoryError for anything in the source that is not as it should be.
        """
        (self._target / "voices").mkdir(parents=True, exist_ok=True)
        with _advice():
            results = run_steps(self._steps(), self._target)
        instructs = TextTokenizer(self._target / TOKENIZER_NAME).knows(END_OF_PROMPT)
        text = TextConfig(instruct_end=END_OF_PROMPT if instructs else "")
        content = {
            "sample_rate": SAMPLE_RATE,
            "default_voice": self._default_voice(results["voices"]["names"]),
            "text": self._extras.text or text,
            "prompt": self._extras.prompt,
            "sampling": self._extras.sampling or released_model.sampling_config(self._values),
            "llm": {**results["language model"], "text_heads": self._extras.text_heads},
            "flow": results["flow"],
            "vocoder": results["vocoder"],
        }
        config = CosyVoice2Config.model_validate(content)
        write_json(self._target / CONFIG_NAME, config.to_content())
        for precision in self._options.graphs:
            ensure_graph(self._target, config, precision)
        return config

    def _steps(self) -> list[Step]:
        source, target = self._source, self._target
        options = (str(self._options.dtype),)
        extras = source.inputs(names.EXTRAS)
        merged = [source.merged_llm / WEIGHTS_NAME] if source.merged_llm else []
        yaml, base = source.inputs(names.YAML), source.inputs(names.BASE_LLM)
        llm, flow, hift = (source.inputs(n) for n in (names.LLM, names.FLOW, names.HIFT))
        copies = [target / ours for name, ours in COPIES.items() if source.has(name)]
        weights = [target / "llm" / WEIGHTS_NAME]
        return [
            Step("text", self._text, base, [target / TOKENIZER_NAME]),
            Step("language model", self._llm, [*llm, *merged, *base], weights, options),
            Step("flow", self._flow, [*flow, *yaml, *extras], [target / FLOW_FILE], options),
            Step(
                "vocoder", self._vocoder, [*hift, *yaml, *extras], [target / VOCODER_FILE], options
            ),
            Step("front end", self._copies, source.inputs(*COPIES), copies),
            Step("voices", self._voices, [*source.inputs(names.VOICES), *base], []),
        ]

    def _text(self) -> dict[str, Any]:
        tokenizer = build_base_tokenizer(self._source.folder / names.BASE_LLM)
        write_bytes(self._target / TOKENIZER_NAME, tokenizer.to_str(pretty=False).encode())
        return {}

    def _llm(self) -> dict[str, Any]:
        text_ids = TextTokenizer(self._target / TOKENIZER_NAME).size
        folder, dtype = self._target / "llm", self._options.dtype
        if self._source.merged_llm:
            config = copy_merged(self._source.merged_llm, folder, dtype=dtype)
            if config.speech_offset != text_ids:
                raise ModelDirectoryError(
                    f"{self._source.merged_llm} has {config.speech_offset} text ids and the "
                    f"tokenizer of {self._source.folder} {text_ids}: they do not belong together"
                )
        else:
            base = self._source.folder / names.BASE_LLM
            config = merge_llm(
                self._source.folder / names.LLM, base, folder, text_ids=text_ids, dtype=dtype
            )
        return config.model_dump(mode="json")

    def _flow(self) -> dict[str, Any]:
        state = _read_state(self._source.folder / names.FLOW)
        config = released_model.flow_config(self._values, state)
        if self._extras.solver:
            config = config.model_copy(update={"solver": self._extras.solver})
        state = released_model.flow_weights(state)
        check_fit(outline(lambda: FlowNetwork(config), names.FLOW), state, names.FLOW)
        self._save(state, FLOW_FILE)
        return config.model_dump(mode="json")

    def _vocoder(self) -> dict[str, Any]:
        config = released_model.vocoder_config(self._values, self._extras.free_phase)
        released = _read_state(self._source.folder / names.HIFT)
        stored = next(iter(released.values())).dtype
        # Half precision would lose bits in the norm.
        state = released_model.vocoder_weights(
            {key: value.float() for key, value in released.items()},
            len(config.resblock_kernel_sizes),
        )
        check_fit(outline(lambda: HiFT(config), names.HIFT), state, names.HIFT)
        self._save({key: value.to(stored) for key, value in state.items()}, VOCODER_FILE)
        return config.model_dump(mode="json")

    def _copies(self) -> dict[str, Any]:
        for name, ours in COPIES.items():
            if self._source.has(name):
                with written_whole(self._target / ours) as path:
                    shutil.copyfile(self._source.folder / name, path)
        return {}

    def _voices(self) -> dict[str, Any]:
        if not self._source.has(names.VOICES):
            return {"names": []}
        tokenizer = TextTokenizer(self._target / TOKENIZER_NAME)
        voices = import_spk2info(self._source.folder / names.VOICES, tokenizer.decode)
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
            return Extras()
        path = self._source.folder / names.EXTRAS
        try:
            return Extras.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise ModelDirectoryError(f"{path}: {error}") from error

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


@contextmanager
def _advice() -> Iterator[None]:
    """Say what to do about a file whose content is not as it should be."""
    try:
        yield
    except ModelDirectoryError as error:
        raise ModelDirectoryError(
            f"{error}. If this is a released checkpoint, the file is damaged or belongs to another "
            f"one: {names.DOWNLOAD_AGAIN}"
        ) from error
