"""The text and voice front end: a request in, segments for the language model out.

Layouts of the LLM prompt (upstream cosyvoice/cli/frontend.py and llm/llm.py), `·` is concatenation:

    zero-shot       sos · lead · transcript · text · task_id · prompt speech   voice with transcript
    cross-lingual   sos · lead · text · task_id                                voice without one
    instruct        sos · instruction · text · task_id                         instruct_text given

Lead and instruction are the wording's; CosyVoice2 has no lead, and closes an instruction with the
end of prompt. Every part is tokenised by itself, so no token spans a border. In all of them the
flow gets the prompt speech, mel and speaker vector of the voice.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path
from typing import Protocol

import numpy as np

from tritone.errors import InvalidRequest, ModelDirectoryError
from tritone.families.cosyvoice2.cloning import Cloner, Cutting, load_cloner
from tritone.families.cosyvoice2.config import CosyVoice2Config, PromptConfig, SpeechIds
from tritone.families.cosyvoice2.encoder_files import encoders_digest, missing_models
from tritone.families.cosyvoice2.reference import ReferenceReader, load_reader
from tritone.families.cosyvoice2.released_tokenizer import TAGS
from tritone.families.cosyvoice2.text_tokenizer import load_tokenizer
from tritone.families.cosyvoice2.voice import Voice
from tritone.families.cosyvoice2.wording import PlainWording, Wording
from tritone.frontend.registry.lookup import RegisteredVoices
from tritone.frontend.text.pronounce import (
    PHONEMES_NAME,
    Pronouncer,
    Pronunciation,
    load_pronouncer,
)
from tritone.frontend.text.segment import is_speakable
from tritone.frontend.text.settings import DEFAULT_TEXT, TextSettings
from tritone.frontend.text.stage import TextStage
from tritone.frontend.text.tokenizer import TextTokenizer
from tritone.frontend.voices import VOICES_CACHED, VoiceCache, reference_key
from tritone.llm.contract import Prompt
from tritone.loading.steps import step
from tritone.synthesis.limits import DEFAULT_LIMITS, Limits, check, is_given
from tritone.synthesis.values import Segment, SynthesisRequest, TextBlock, TextPiece, in_order


def llm_prompt(
    llm: SpeechIds, prompt_text: Sequence[int], text: Sequence[int], speech: Sequence[int]
) -> Prompt:
    """sos · prompt text · text · task_id · speech codes moved to their LLM ids; of (n,) ids."""
    codes = [code + llm.speech_offset for code in speech]
    ids = [llm.sos_id, *prompt_text, *text, llm.task_id, *codes]
    return Prompt(np.array(ids, dtype=np.int32))


class FrontendConfig(Protocol):
    """What a front end needs of a family's configuration."""

    @property
    def family(self) -> str: ...
    @property
    def default_voice(self) -> str | None: ...
    @property
    def prompt(self) -> PromptConfig: ...
    @property
    def llm(self) -> SpeechIds: ...


class PromptFrontend:
    """A `tritone.families.contract.Frontend` of the layouts above."""

    def __init__(
        self,
        model_dir: Path,
        config: FrontendConfig,
        limits: Limits,
        text: TextSettings,
        *,
        tokenizer: TextTokenizer,
        wording: Wording,
        tags: Sequence[str] = TAGS,
        kind: type[Voice] = Voice,
        pronounce: Pronouncer | None = None,
        reader: ReferenceReader | None = None,
    ) -> None:
        """tags: what a text may hold of the checkpoint's tokens. kind: of the family's voices.
        reader: of recordings, where it is loaded already.

        Raises ModelDirectoryError when a file of the model directory is missing or damaged.
        """
        self._llm = config.llm
        self._limits = limits
        self._default_voice = config.default_voice
        self._tokenizer, self._wording, self._pronounce = tokenizer, wording, pronounce
        # The tokens of a word that is spoken as phonemes are not those of its letters.
        length = len if pronounce else tokenizer.length
        with step("text normaliser"):
            self._text = TextStage(model_dir, tags, length, text, phonemes=bool(pronounce))
        self._missing = missing_models(model_dir)
        self._cloner = None
        if not self._missing:
            cutting = Cutting(limits.min_reference_seconds, config.prompt.longest_seconds)
            reader = reader or load_reader(model_dir, config.llm.speech_codes, kind)
            self._cloner = load_cloner(model_dir, reader, cutting, pronounce)
        self._cache: VoiceCache[Voice] = VoiceCache(VOICES_CACHED)
        self._transcript_ids = lru_cache(VOICES_CACHED)(
            lambda text: self._tokenizer.encode(self._spoken(text).text)
        )
        self._voices = RegisteredVoices(
            model_dir, config.family, kind, lambda: encoders_digest(model_dir)
        )

    def prepare(self, request: SynthesisRequest) -> Iterator[Segment]:
        voice, cached = self.voice_of(request)
        return in_order(lambda index: self.block(request, index, voice), voice, cached)

    def warm_up(self) -> None:
        """Run the text part once: normaliser and lexicon load what they need on first use.

        One word is in no lexicon, so that what reads unknown words is loaded too.
        """
        with step("text warm-up"):
            for text in ("Tritone is READY in 1, 2, 3.", "三二一，好。"):
                for piece in self._text.block(text, 0).pieces:
                    self._tokenizer.encode(self._spoken(piece.text).text)

    def voice_of(self, request: SynthesisRequest) -> tuple[Voice, bool]:
        check(request, self._limits)
        if request.emotion is not None:
            raise InvalidRequest(request.emotion.given[0], "this checkpoint knows no emotions")
        request = self._wording.own_words(request)
        if request.reference_wav is not None:
            return self._cloned_voice(request)
        name = request.voice if is_given(request.voice) else self._default_voice
        if name is None:
            raise InvalidRequest(
                "reference_wav",
                f"is missing, and this model has no default voice; {self._voices.describe()}",
            )
        return self._cache.get(self._voices.key(name), lambda: self._registered_voice(name))

    def _registered_voice(self, name: str) -> Voice:
        voice = self._voices.load(name)
        if fault := voice.fault(self._llm.speech_codes):
            raise ModelDirectoryError(f"voice {name}: {fault}")
        return voice

    @property
    def cloner(self) -> Cloner:
        """Raises InvalidRequest where the checkpoint has none."""
        if self._cloner is None:
            raise InvalidRequest(
                "reference_wav",
                "this checkpoint cannot clone voices: its model directory lacks "
                f"{' and '.join(self._missing)}; send no reference_wav to use a registered voice",
            )
        return self._cloner

    def transcript_of(self, request: SynthesisRequest) -> str:
        """Its reference_text as it is spoken, empty for none; InvalidRequest for one without words,
        or with words that are not the caller's."""
        return self._spoken_transcript(self._wording.own_words(request).reference_text)

    def _spoken_transcript(self, text: str | None) -> str:
        transcript = self._text.normalize(text or "")
        if is_given(text) and not is_speakable(transcript):
            raise InvalidRequest(
                "reference_text", "has nothing to say; leave it out where nobody knows it"
            )
        return transcript

    def _cloned_voice(self, request: SynthesisRequest) -> tuple[Voice, bool]:
        cloner, wav, rate = self.cloner, request.reference_wav, request.reference_rate
        assert wav is not None
        transcript = self._spoken_transcript(request.reference_text)
        key = reference_key(wav, rate, transcript)
        return self._cache.get(key, lambda: cloner.voice(wav, rate, transcript))

    def _layout(
        self, request: SynthesisRequest, voice: Voice
    ) -> tuple[list[int], Sequence[int], tuple[str, ...]]:
        """Prompt text ids, prompt speech codes, and notes on what of the request is not used."""
        if is_given(request.instruct_text):
            unused = is_given(request.reference_text)
            notes = ("reference_text is not used with instruct_text",) if unused else ()
            return self._wording.instruction(str(request.instruct_text)), [], notes
        lead = list(self._wording.lead)
        if not voice.transcript or not len(voice.prompt_tokens):
            return lead, [], ()
        transcript = self._transcript_ids(voice.transcript)
        return [*lead, *transcript], voice.prompt_tokens.tolist(), ()

    def block(self, request: SynthesisRequest, index: int, voice: Voice) -> TextBlock:
        """Block `index` of the text; `more` of a block says whether the next one exists.

        Raises InvalidRequest for a voice of other codes, and for what is wrong with the text.
        """
        if fault := voice.fault(self._llm.speech_codes):
            raise InvalidRequest("prepared_voice", fault)
        request = self._wording.own_words(request)
        prompt_text, prompt_speech, unused = self._layout(request, voice)
        if request.settled is not None:
            return self._grown(request, request.settled, prompt_text, prompt_speech)
        block = self._text.block(request.text, index, continues=request.continues)
        notes = (*((*voice.notes, *unused) if index == 0 else ()), *block.notes)
        pause, segments = 0.0, []
        for piece in block.pieces:
            spoken = self._spoken(piece.text)
            notes = tuple(dict.fromkeys((*notes, *spoken.notes)))
            ids = self._tokenizer.encode(spoken.text)
            pause = max(pause, piece.pause)
            if ids:
                prompt = llm_prompt(self._llm, prompt_text, ids, prompt_speech)
                after = piece.pause_after
                segments.append(
                    TextPiece(
                        prompt, len(ids), piece.text, notes, pause, piece.speed, piece.start, after
                    )
                )
                notes, pause = (), 0.0
        return TextBlock(tuple(segments), notes, block.more)

    def _grown(
        self,
        request: SynthesisRequest,
        settled: int,
        prompt_text: Sequence[int],
        prompt_speech: Sequence[int],
    ) -> TextBlock:
        """The text so far as one piece, of the ids that are the same whatever follows."""
        piece = self._text.growing(request.text, settled, request.continues)
        spoken = self._spoken(piece.text)
        notes = tuple(dict.fromkeys((*piece.notes, *spoken.notes)))
        ids = self._tokenizer.encode(spoken.text)
        if piece.settled != piece.text:
            sure = self._tokenizer.encode(self._spoken(piece.settled).text)
            ids = _same(ids, sure)
        if not ids:
            return TextBlock((), notes, more=False)
        found = TextPiece(
            llm_prompt(self._llm, prompt_text, ids, prompt_speech),
            len(ids),
            piece.settled,
            notes,
            piece.pause,
            piece.speed,
            piece.start,
            piece.pause_after,
            1 + self._wording.opening(prompt_text),
        )
        return TextBlock((found,), (), more=False)

    def _spoken(self, text: str) -> Pronunciation:
        """The form of the text that the tokenizer was trained on."""
        return self._pronounce(text) if self._pronounce else Pronunciation(text)


def _same(first: list[int], second: list[int]) -> list[int]:
    """What both begin with."""
    alike = (index for index, pair in enumerate(zip_longest(first, second)) if len({*pair}) > 1)
    return first[: next(alike, len(first))]


def pronouncer(
    model_dir: Path, kind: str, tokenizer: TextTokenizer, tags: Sequence[str]
) -> Pronouncer | None:
    """What a checkpoint of this `pronunciation` says in place of letters.

    Raises ModelDirectoryError when its file is missing or damaged.
    """
    if kind == "none":
        return None
    with step("pronunciation", model_dir / PHONEMES_NAME):
        return load_pronouncer(model_dir / PHONEMES_NAME, tokenizer, tags)


class CosyVoice2Frontend(PromptFrontend):
    def __init__(
        self,
        model_dir: Path,
        config: CosyVoice2Config,
        limits: Limits = DEFAULT_LIMITS,
        text: TextSettings = DEFAULT_TEXT,
        reader: ReferenceReader | None = None,
    ) -> None:
        """Raises ModelDirectoryError when a file of the model directory is missing or damaged."""
        tokenizer = load_tokenizer(model_dir, config.llm)
        wording = PlainWording(tokenizer, config.text.instruct_end)
        super().__init__(
            model_dir, config, limits, text,
            tokenizer=tokenizer,
            wording=wording,
            pronounce=pronouncer(model_dir, config.text.pronunciation, tokenizer, TAGS),
            reader=reader,
        )  # fmt: skip
