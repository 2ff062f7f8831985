"""CosyVoice3's text and prompt mel against a golden folder that upstream's classes made.

The released vocabulary is not part of the folder. `qwen2_tokens.json` of our own tests has those of
its entries that the texts need, with their own ids and merges; all other ids are filled with what
no text gives.
"""

import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from safetensors.numpy import load_file
from tokenizers import Tokenizer

from parity import ParityResult, close, equal
from tritone.families.cosyvoice2.config import SpeechIds
from tritone.families.cosyvoice2.frontend import llm_prompt
from tritone.families.cosyvoice3.config import TextConfig
from tritone.families.cosyvoice3.released_tokenizer import build_base_tokenizer
from tritone.families.cosyvoice3.voice import prompt_mel
from tritone.families.cosyvoice3.wording import SystemWording
from tritone.frontend.text.tokenizer import TextTokenizer
from tritone.synthesis.values import SynthesisRequest

LAYOUTS = "text_layout.json"
INSTRUCTIONS = "instruct_list.json"
TOKENS = Path(__file__).parents[2] / "tests" / "golden" / "cosyvoice3" / "qwen2_tokens.json"
MEL = "prompt_mel.safetensors"
MEL_LIMIT = 1e-4

BASE_SIZE = 151643
CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
WORDS = TextConfig()
# The ids of the merged checkpoint; the layout uses no other number of a configuration.
LLM = SpeechIds.model_construct(speech_offset=151924, sos_id=158485, task_id=158487)


def released_tokenizer(folder: Path) -> Tokenizer:
    """The released tokenizer as far as the golden texts go; its parts are written to `folder`."""
    tokens = _read(TOKENS)
    ids = {number: token for token, number in tokens["vocab"].items()}
    vocab = {ids.get(i, f"unused {i}"): i for i in range(BASE_SIZE)}
    control = {str(BASE_SIZE + i): {"content": token} for i, token in enumerate(CONTROL)}
    merges = "".join(f"{merge}\n" for merge in ("#version: 0.2", *tokens["merges"]))
    (folder / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    (folder / "merges.txt").write_text(merges, encoding="utf-8")
    config = json.dumps({"added_tokens_decoder": control})
    (folder / "tokenizer_config.json").write_text(config, encoding="utf-8")
    return build_base_tokenizer(folder)


def cases(folder: Path) -> Iterator[ParityResult]:
    """Compare what the front end makes with what is in `folder`."""
    layouts = _read(folder / LAYOUTS)
    with TemporaryDirectory() as work:
        tokenizer = released_tokenizer(Path(work))
        tokenizer.save(f"{work}/tokenizer.json")
        text = TextTokenizer(Path(work) / "tokenizer.json")
    wording = SystemWording(text, WORDS)
    yield from _tokens(tokenizer, layouts)
    for number, case in enumerate(layouts["cases"]):
        name = f"layout/{number}/{case['mode']}"
        yield from _layout(name, case, text, wording)
    for number, words in enumerate(_read(folder / INSTRUCTIONS)["instruct_list"]):
        # upstream gives the whole to a tokenizer that knows control tokens in text
        expected = tokenizer.encode(words, add_special_tokens=False).ids
        yield equal(f"instruct/{number}", _instruction(wording, words), expected)
    golden = load_file(folder / MEL)
    yield close("prompt_mel", prompt_mel(golden["wav"][0]).T[None], golden["mel"], MEL_LIMIT)


def _tokens(tokenizer: Tokenizer, layouts: dict[str, Any]) -> Iterator[ParityResult]:
    table = layouts["special_tokens"]
    ours = [tokenizer.token_to_id(entry["token"]) for entry in table]
    yield equal("tokens/ids", ours, [entry["id"] for entry in table])
    yield equal("tokens/size", [tokenizer.get_vocab_size()], [layouts["len_tokenizer"]])
    for token, ids in layouts["nfd_input_ids"].items():
        decomposed = tokenizer.encode(unicodedata.normalize("NFD", token)).ids
        yield equal(f"tokens/decomposed {token}", decomposed, ids)


def _layout(
    name: str, case: dict[str, Any], text: TextTokenizer, wording: SystemWording
) -> Iterator[ParityResult]:
    """The prompt of a request that brings the system's words, as upstream's clients send them.

    The text goes to the tokenizer as it is: the rules of the normaliser are not upstream's.
    """
    prompt, words = case["prompt_text"], case["tts_text"]
    if case["mode"] == "instruct2":
        before = _instruction(wording, prompt)
    else:
        request = SynthesisRequest(text=words, reference_text=prompt)
        request = wording.own_words(request)
        before, words = list(wording.lead), request.text.strip()
        before += text.encode(request.reference_text or "")
    ids = llm_prompt(LLM, before, text.encode(words), case["prompt_speech"]).ids
    assert ids is not None
    yield equal(name, ids.tolist(), case["merged_layout"])


def _instruction(wording: SystemWording, words: str) -> list[int]:
    request = wording.own_words(SynthesisRequest(text="", instruct_text=words))
    return wording.instruction(str(request.instruct_text))


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
