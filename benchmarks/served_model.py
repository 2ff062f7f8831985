"""The full-size model of random weights as a server can speak with it.

Text is spelt, a token a letter; a voice with a prompt of three seconds is registered, and SENTENCE
gives speech of the wanted length whatever is drawn.
"""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.base_tokenizer import write_tokenizer_parts
from benchmarks.family_parts import PARTS
from benchmarks.full_size import AnyConfig
from benchmarks.random_model import write_model
from benchmarks.streams import lasting, some_prompt
from tritone.checkpoints.atomic_write import write_json
from tritone.config import CONFIG_NAME
from tritone.families import family_named
from tritone.families.cosyvoice2.released_tokenizer import build_base_tokenizer
from tritone.families.cosyvoice2.rules import CODES_PER_SECOND
from tritone.frontend.text.settings import DEFAULT_TEXT
from tritone.frontend.text.tokenizer import TOKENIZER_NAME
from tritone.frontend.voices import VOICES_FOLDER, save_voice
from tritone.synthesis.limits import DEFAULT_LIMITS
from tritone.synthesis.values import SynthesisRequest

SENTENCE = "The birch canoe slid on the smooth planks."
VOICE = "bench"


def write_served_model(folder: Path, seconds: float, size: AnyConfig) -> None:
    """Write a model directory whose SENTENCE lasts `seconds`."""
    spelt = type(size.text)()
    config = size.model_copy(update={"default_voice": VOICE, "text": spelt})
    write_model(folder, config)
    _write_text(folder, config)
    _, spoken = some_prompt(config, 3 * CODES_PER_SECOND)
    prompt = replace(spoken, transcript=SENTENCE)  # the language model sees it too
    save_voice(folder / VOICES_FOLDER / f"{VOICE}.safetensors", prompt)
    family = family_named(config.family)
    frontend = family.load_frontend(folder, config, DEFAULT_LIMITS, DEFAULT_TEXT)
    (segment,) = frontend.prepare(SynthesisRequest(text=SENTENCE))
    write_json(folder / CONFIG_NAME, lasting(config, seconds, segment.target_tokens).to_content())


def _write_text(folder: Path, config: AnyConfig) -> None:
    """What the text front end reads."""
    added = PARTS[config.family].added
    with TemporaryDirectory() as base:
        write_tokenizer_parts(Path(base), config.llm.speech_offset, added)
        build_base_tokenizer(Path(base), added).save(str(folder / TOKENIZER_NAME))
