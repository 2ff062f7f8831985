"""Our text and voice front end against a golden folder that upstream's functions made.

The folder's texts were tokenised with the released vocabulary, which is not part of it. English
lengths are therefore counted as pieces of Qwen2's word pattern, which equals the recorded lengths
wherever every word is one token; a case where it does not is informational.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.numpy import load_file
from tokenizers import Regex, Tokenizer
from tokenizers.pre_tokenizers import Split

from parity import ParityResult, close, equal
from tritone.arrays import Int32
from tritone.families.cosyvoice2.config import SpeechIds
from tritone.families.cosyvoice2.frontend import llm_prompt
from tritone.families.cosyvoice2.reference import ReferenceReader
from tritone.families.cosyvoice2.released_tokenizer import TAGS, WORD_PATTERN, build_base_tokenizer
from tritone.families.cosyvoice2.voice import PROMPT_RATE, import_spk2info, prompt_mel
from tritone.frontend.audio.features import SPEECH_RATE, kaldi_fbank, whisper_log_mel
from tritone.frontend.audio.resample import resample
from tritone.frontend.text.kinds import is_raw
from tritone.frontend.text.normalize import TextNormalizer
from tritone.frontend.text.segment import SegmentRule, language_of, segment, split_paragraph

RESAMPLE_LIMIT = 2e-6
LOG_MEL_LIMIT = 1e-4
FBANK_LIMIT = 2e-3
PROMPT_MEL_LIMIT = 1e-4
EMBEDDING_LIMIT = 1e-3  # the speaker encoder sees the fbank's difference
INFORMATIONAL = math.inf

SPEECH_CODES = 6561
RULE = {  # our names of the rule's numbers
    "token_max_n": "longest",
    "token_min_n": "shortest",
    "merge_len": "tail",
    "comma_split": "comma_split",
}
DECIMAL = re.compile(r"\d\.\d")


def _resampling(folder: Path) -> Iterator[ParityResult]:
    golden = load_file(folder / "resample.safetensors")
    for key in sorted(golden):
        pair, _, side = key.partition(".")
        if side == "in":
            old, new = (int(rate) for rate in pair.split("_"))
            ours = resample(golden[key], old, new)
            yield close(f"resample/{pair}", ours, golden[f"{pair}.out"], RESAMPLE_LIMIT)


def _features(folder: Path) -> Iterator[ParityResult]:
    golden = load_file(folder / "audio_features.safetensors")
    for case in sorted(key.removesuffix(".wav") for key in golden if key.endswith(".wav")):
        wav = golden[f"{case}.wav"][0]
        wav24 = resample(wav, SPEECH_RATE, PROMPT_RATE)
        pairs = (
            ("logmel128", whisper_log_mel(wav)[None], LOG_MEL_LIMIT),
            ("fbank80_meannorm", kaldi_fbank(wav), FBANK_LIMIT),
            ("mel80_24k_TxC", prompt_mel(wav24), PROMPT_MEL_LIMIT),
            ("resample_16k_24k", wav24[None], RESAMPLE_LIMIT),
        )
        for name, ours, limit in pairs:
            yield close(f"features/{case}/{name}", ours, golden[f"{case}.{name}"], limit)


def _prompts(folder: Path) -> Iterator[ParityResult]:
    onnx = folder / "tiny_onnx" if (folder / "tiny_onnx").is_dir() else folder.parent / "tiny_onnx"
    if not onnx.is_dir():
        yield ParityResult("prompt", math.nan, 0, f"no tiny_onnx in or beside {folder}")
        return
    models = (onnx / "speech_tokenizer_v2.onnx", onnx / "campplus.onnx")
    reader = ReferenceReader(*models, speech_codes=SPEECH_CODES)
    golden = load_file(folder / "prompt_frontend.safetensors")
    for case, meta in _read(folder / "audio_meta.json")["prompt"].items():
        wav, rate = golden[f"{case}.wav_TxCh"].mean(axis=1), meta["sample_rate"]
        voice = reader.read(wav, rate)
        raw = reader.tokenizer(resample(wav, rate, SPEECH_RATE))
        pairs = (
            ("raw_speech_token", raw, 0.0),
            ("llm_prompt_speech_token", voice.prompt_tokens, 0.0),
            ("prompt_speech_feat", voice.prompt_mel, PROMPT_MEL_LIMIT),
            ("llm_embedding", voice.embedding, EMBEDDING_LIMIT),
        )
        for name, ours, limit in pairs:
            yield close(f"prompt/{case}/{name}", ours[None], golden[f"{case}.{name}"], limit)


def _splits(folder: Path) -> Iterator[ParityResult]:
    words = Split(Regex(WORD_PATTERN), behavior="isolated")
    golden = _read(folder / "split_paragraph.json") + _read(folder / "split_paragraph_edge.json")
    for number, case in enumerate(golden):
        name = f"split/{number}/{case['lang']}"
        length = len if case["lang"] == "zh" else lambda text: len(words.pre_tokenize_str(text))
        rule = SegmentRule(**{RULE[name]: value for name, value in case.get("params", {}).items()})
        ours = split_paragraph(case["text"], case["lang"], length, rule)
        expected = case["output"]
        note = ""
        if not isinstance(expected, list):
            note, expected = f"upstream raises {expected['error']}", ours
        elif DECIMAL.search(case["text"]):
            note = "has a decimal, which upstream may cut and we do not"
        elif case.get("lengths") not in (None, [length(piece) for piece in expected]):
            note = "word count differs from the recorded lengths"
        yield equal(name, ours, expected, INFORMATIONAL if note else 0.0, note)


def _normalised(folder: Path) -> Iterator[ParityResult]:
    """Informational: Chinese is read by the installed wetext, English by other rules on purpose."""
    normalize = TextNormalizer(TAGS)
    for number, case in enumerate(_read(folder / "text_normalize.json")["cases"]):
        text = normalize(case["text"])
        pieces = [text] if is_raw(text) else segment(text, language_of(case["text"]), len)
        for kind, ours in (("nosplit", text), ("split", pieces)):
            expected = case[f"{kind}/wetext"]
            note = f"text rules, soft: {ours!r} for {expected!r}" if ours != expected else "soft"
            yield equal(f"normalize/{number}/{kind}", [ours], [expected], INFORMATIONAL, note)


def _layouts(folder: Path) -> Iterator[ParityResult]:
    meta = _read(folder / "token_layout.json")
    for number, case in enumerate(meta["cases"]):
        ours = _prompt(meta, case["prompt_ids"], case["tts_ids"], case["prompt_speech"])
        yield close(f"layout/{number}", ours, case["upstream_separate_layout"], 0.0)


def _merged_layouts(folder: Path) -> Iterator[ParityResult]:
    meta = _read(folder / "llm_meta.json")
    golden = load_file(folder / "llm_logits.safetensors")
    for case in sorted(key.partition(".")[0] for key in golden if key.endswith("merged_input_ids")):
        names = ("prompt_text", "text", "prompt_speech")
        ours = _prompt(meta, *(golden[f"{case}.{name}"][0].tolist() for name in names))
        expected = golden[f"{case}.merged_input_ids"][0]
        yield close(f"layout/{case}", ours, expected[: len(ours)], 0.0)


def _prompt(meta: dict[str, int], *parts: Sequence[int]) -> Int32:
    """The layout uses only three numbers of a configuration."""
    llm = SpeechIds.model_construct(
        speech_offset=meta["offset"], sos_id=meta["sos"], task_id=meta["task_id"]
    )
    ids = llm_prompt(llm, *parts).ids
    assert ids is not None
    return ids


def _tokenizers(folder: Path) -> Iterator[ParityResult]:
    """Our base tokenizer of the tiny checkpoint against the one that upstream's converter wrote."""
    ours = build_base_tokenizer(folder / "llm_tiny" / "CosyVoice-BlankEN")
    merged = Tokenizer.from_file(str(folder / "llm_tiny" / "merged_hf" / "tokenizer.json"))
    texts = [case["text"] for case in _read(folder / "text_normalize.json")["cases"]]
    texts += [token.content for token in ours.get_added_tokens_decoder().values()]
    for number, text in enumerate(texts):
        expected = merged.encode(text, add_special_tokens=False).ids
        yield equal(f"tokenizer/{number}", ours.encode(text).ids, expected, 0.0)


def _imports(folder: Path) -> Iterator[ParityResult]:
    for name in ("spk2info_upstream.pt", "spk2info_async.pt"):
        yield from _imported(folder / name)


def _imported(path: Path) -> Iterator[ParityResult]:
    """The importer against the tensors themselves."""
    decoded: list[int] = []

    def decode(ids: Any) -> str:
        decoded[:] = ids
        return "decoded"

    voices = import_spk2info(path, decode)
    for name, entry in torch.load(path, map_location="cpu", weights_only=True).items():
        zero_shot = "flow_embedding" in entry
        keys = ("flow_prompt_speech_token", "prompt_speech_feat", "flow_embedding")
        keys = keys if zero_shot else ("speech_token", "speech_feat", "embedding")
        voice = voices[name]
        arrays = (voice.prompt_tokens, voice.prompt_mel, voice.embedding)
        for key, ours in zip(keys, arrays, strict=True):
            yield close(f"import/{path.stem}/{key}", ours[None], entry[key].numpy(), 0.0)
        if zero_shot:
            expected = entry["prompt_text"][0].tolist()
            yield equal(f"import/{path.stem}/prompt_text", decoded, expected, 0.0)


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


GROUPS: dict[str, Callable[[Path], Iterator[ParityResult]]] = {
    "resample": _resampling,
    "features": _features,
    "prompt": _prompts,
    "split": _splits,
    "normalize": _normalised,
    "layout": _layouts,
    "merged_layout": _merged_layouts,
    "tokenizer": _tokenizers,
    "import": _imports,
}


def cases(folder: Path, groups: Iterable[str] = tuple(GROUPS)) -> Iterator[ParityResult]:
    """Compare what the front end makes with what is in `folder`, group by group.

    The stand-in ONNX models are looked for in folder/tiny_onnx and folder/../tiny_onnx.
    """
    for group in groups:
        yield from GROUPS[group](folder)
