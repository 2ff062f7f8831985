"""Our text front end of IndexTTS2 against cases of upstream's."""

import math
import unicodedata
from collections.abc import Iterator
from typing import Any

from parity import ParityResult, equal
from parity.golden import Golden
from tritone.families.indextts2.text_glossary import Glossary
from tritone.families.indextts2.text_pinyin import PINYIN, as_piece
from tritone.families.indextts2.text_reader import TextReader, language_of
from tritone.families.indextts2.text_segments import segments
from tritone.families.indextts2.text_tokenizer import (
    BLANK,
    PieceTokenizer,
    spaced,
    spaced_unless_alone,
)

TOKENIZER_NAME = "bpe.model"  # of the release; golden folders have none


def text(case: Golden) -> Iterator[ParityResult]:
    yield from _reading(case)
    yield from _pinyin(case)
    cases = case.about["segmentation"]
    ours = [segments(one["tokens"], one["max"], one["quick_streaming_tokens"]) for one in cases]
    yield equal("text, segmentation", ours, _all(cases, "segments"))
    if "sentencepiece" in case.about:
        yield from _pieces(case)


def _reading(case: Golden) -> Iterator[ParityResult]:
    reader = TextReader(Glossary(case.about["glossary"]))
    cases = case.about["normalize"]
    chinese = [language_of(one["text"]) == "zh" for one in cases]
    yield equal("text, use_chinese", chinese, [one["use_chinese"] for one in cases])
    ours, golden = [reader(one["text"]).strip() for one in cases], _all(cases, "normalized")
    yield equal("text, normalized", ours, [one.strip() for one in golden], math.inf)
    ours = [spaced(one) for one in golden]
    yield equal("text, cjk_spaced", ours, _all(cases, "cjk_spaced"))


def _pinyin(case: Golden) -> Iterator[ParityResult]:
    written, golden = zip(*case.about["correct_pinyin"], strict=True)
    yield equal("text, correct_pinyin", [as_piece(one) for one in written], golden)
    written, golden = zip(*case.about["pinyin_matches"], strict=True)
    ours = [[match[0] for match in PINYIN.finditer(one)] for one in written]
    yield equal("text, pinyin_matches", ours, golden)


def _pieces(case: Golden) -> Iterator[ParityResult]:
    """Which pieces a text has is for the released model to say; what they are pieces of is known
    without it, but for what the model's table replaces."""
    cases = case.about["sentencepiece"]["cases"]
    lengths = [[len(part) for part in segments(one["pieces"])] for one in cases]
    yield equal("text, segments_120", lengths, _all(cases, "segments_120"))
    normalized = {one["text"]: one["normalized"] for one in case.about["normalize"]}
    known = [one for one in cases if one["text"] in normalized]
    texts = [
        one["text"] if len(one["text"].strip()) == 1 else normalized[one["text"]] for one in known
    ]
    composed = [unicodedata.normalize("NFKC", spaced_unless_alone(one)) for one in texts]
    ours = [BLANK + one.replace(" ", BLANK) for one in composed]
    yield equal("text, pieces joined", ours, ["".join(one["pieces"]) for one in known], math.inf)
    if (path := case.folder / TOKENIZER_NAME).is_file():
        tokenizer = PieceTokenizer(path)
        ids = [list(tokenizer(one).ids) for one in texts]
        yield equal("text, ids", ids, _all(known, "ids"))


def _all(cases: list[dict[str, Any]], name: str) -> list[Any]:
    return [one[name] for one in cases]


CASES = {"text": text}
