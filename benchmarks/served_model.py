"""The full-size model of random weights as a server can speak with it.

Text and its pronunciation come from the embedded voice; a voice with a prompt of three seconds is
registered, and SENTENCE gives speech of the wanted length whatever is drawn.
"""

import shutil
from dataclasses import replace
from pathlib import Path

from benchmarks.full_size import FULL_SIZE, write_model
from benchmarks.streams import some_prompt
from tritone.checkpoints.atomic_write import write_json
from tritone.config import CONFIG_NAME
from tritone.families.cosyvoice2.config import CosyVoice2Config
from tritone.families.cosyvoice2.frontend import CosyVoice2Frontend
from tritone.families.cosyvoice2.rules import CODES_PER_SECOND
from tritone.frontend.text.pronounce import PHONEMES_NAME
from tritone.frontend.text.tokenizer import TOKENIZER_NAME
from tritone.frontend.voices import VOICES_FOLDER, save_voice
from tritone.synthesis.values import SynthesisRequest

SENTENCE = "The birch canoe slid on the smooth planks."
VOICE = "bench"


def write_served_model(
    folder: Path, text_of: Path, seconds: float, size: CosyVoice2Config = FULL_SIZE
) -> None:
    """Write a model directory whose SENTENCE lasts `seconds`.

    text_of: the model directory that its text front end is taken from.
    """
    text = CosyVoice2Config.read(text_of).text
    config = size.model_copy(update={"text": text, "default_voice": VOICE})
    write_model(folder, config)
    for name in (TOKENIZER_NAME, PHONEMES_NAME):
        shutil.copy(text_of / name, folder / name)
    _, spoken = some_prompt(config, 3 * CODES_PER_SECOND)
    prompt = replace(spoken, transcript=SENTENCE)  # the language model sees it too
    save_voice(folder / VOICES_FOLDER / f"{VOICE}.safetensors", prompt)
    (segment,) = CosyVoice2Frontend(folder, config).prepare(SynthesisRequest(text=SENTENCE))
    codes = seconds * CODES_PER_SECOND + 0.5  # limits are rounded down
    each = codes / segment.target_tokens
    lengths = {"min_tokens_per_text_token": each, "max_tokens_per_text_token": each}
    sampling = config.sampling.model_copy(update={**lengths, "tokens_beside": 0})
    unheard = config.llm.model_copy(update={"text_heads": ()})  # the text is not to end it
    config = config.model_copy(update={"sampling": sampling, "llm": unheard})
    write_json(folder / CONFIG_NAME, config.to_content())
