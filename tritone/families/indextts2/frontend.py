"""A request to prompts of the language model: vectors of the speaker, then of the text."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import torch

from tritone.acoustic.weights import load_network
from tritone.errors import InvalidRequest, ModelDirectoryError
from tritone.families.indextts2.emotion import EMOTIONS, EMOTIONS_FILE, read_emotions, scaled
from tritone.families.indextts2.emotion_model import EmotionModel
from tritone.families.indextts2.emotion_model_config import EmotionModelConfig
from tritone.families.indextts2.emotion_model_files import FOLDER
from tritone.families.indextts2.gpt_conditioning import merged
from tritone.families.indextts2.gpt_prompter import Prompter
from tritone.families.indextts2.released_files import EMOTION_MODEL
from tritone.families.indextts2.text_glossary import GLOSSARY_NAME, read_glossary
from tritone.families.indextts2.text_reader import line_readers
from tritone.families.indextts2.text_segments import ends_sentence, segments
from tritone.families.indextts2.text_tokenizer import PieceTokenizer, text_of
from tritone.families.indextts2.voice import Voice
from tritone.families.indextts2.voice_reader import (
    CloningConfig,
    VoiceReader,
    files_digest,
    load_voice_reader,
    missing_files,
)
from tritone.frontend.registry.lookup import RegisteredVoices
from tritone.frontend.text.segment import is_speakable
from tritone.frontend.text.settings import DEFAULT_TEXT, TextSettings
from tritone.frontend.text.stage import SpokenPiece, TextStage
from tritone.frontend.voices import VOICES_CACHED, VoiceCache, reference_key
from tritone.llm.contract import Prompt
from tritone.loading.steps import step
from tritone.synthesis.limits import DEFAULT_LIMITS, Limits, check, is_given
from tritone.synthesis.values import (
    Emotion,
    Segment,
    SynthesisRequest,
    TextBlock,
    TextPiece,
    in_order,
)

TOKENIZER_FILE = "tokenizer.model"
PROMPTER_FILE = "prompter.safetensors"


class FrontendConfig(CloningConfig, Protocol):
    """The part of the configuration that is read here."""

    @property
    def family(self) -> str: ...

    @property
    def default_voice(self) -> str | None: ...

    @property
    def emotions(self) -> tuple[int, ...]: ...

    @property
    def emotion_model(self) -> EmotionModelConfig | None: ...


class IndexTTS2Frontend:
    """A `tritone.families.contract.Frontend`."""

    def __init__(
        self,
        model_dir: Path,
        config: FrontendConfig,
        limits: Limits = DEFAULT_LIMITS,
        text: TextSettings = DEFAULT_TEXT,
    ) -> None:
        """Raises ModelDirectoryError when a file of the model directory is missing or damaged."""
        self._config, self._limits = config, limits
        self._sentence_pause = text.pauses.sentence
        with step("text tokenizer", model_dir / TOKENIZER_FILE):
            self._tokenizer = PieceTokenizer(model_dir / TOKENIZER_FILE)
        _check_pieces(self._tokenizer, config.gpt.text_ids)
        with step("text normaliser"):
            readers = line_readers(read_glossary(model_dir / GLOSSARY_NAME))
            self._text = TextStage(model_dir, (), self._length, text, readers=readers, cut=_whole)
        with step("prompt tables", model_dir / PROMPTER_FILE):
            path = model_dir / PROMPTER_FILE
            self._prompter = load_network(lambda: Prompter(config.gpt), path)
            self._emotions = read_emotions(model_dir / EMOTIONS_FILE, config.emotions)
        self._emotion_model = _emotion_model(model_dir / FOLDER, config.emotion_model)
        self._missing = missing_files(model_dir)
        self._reader = None if self._missing else load_voice_reader(model_dir, config)
        self._cache: VoiceCache[Voice] = VoiceCache(VOICES_CACHED)
        self._voices = RegisteredVoices(
            model_dir, config.family, Voice, lambda: files_digest(model_dir)
        )

    def prepare(self, request: SynthesisRequest) -> Iterator[Segment]:
        voice, cached = self.voice_of(request)
        return in_order(lambda index: self.block(request, index, voice), voice, cached)

    def warm_up(self) -> None:
        with step("text warm-up"):
            for text in ("Tritone is READY in 1, 2, 3.", "三二一，好。"):
                for piece in self._text.block(text, 0).pieces:
                    self._tokenizer(piece.text)

    def voice_of(self, request: SynthesisRequest) -> tuple[Voice, bool]:
        """The voice in the emotion that is asked for; the model is told of both in one."""
        check(request, self._limits)
        if request.emotion is None:
            return self._speaker_of(request)
        emotion = request.emotion
        _check_vector(emotion)
        if emotion.text is not None:
            emotion = replace(emotion, text=None, vector=self._read_out_of(emotion.text))
        voice, cached = self._speaker_of(request)
        return self._moved(voice, emotion), cached

    def _read_out_of(self, text: str) -> tuple[float, ...]:
        """Shares of the emotions. Raises InvalidRequest where nothing here reads them."""
        if self._emotion_model is None:
            raise InvalidRequest(
                "emotion_text",
                f"needs the emotion model, which this model directory is without; convert a "
                f"release with {EMOTION_MODEL}, or send emotion_vector or emotion_wav",
            )
        return self._emotion_model.shares(text)

    def _moved(self, voice: Voice, emotion: Emotion) -> Voice:
        if emotion.vector is not None:
            shares = scaled(emotion.vector, emotion.weight)
            return replace(voice, emotion=self._emotions.mixed(shares, voice.style, voice.emotion))
        assert emotion.wav is not None, "checked before"
        heard = self.reader.emotion(emotion.wav, emotion.rate)
        own, other = torch.from_numpy(voice.emotion), torch.from_numpy(heard)
        return replace(voice, emotion=merged(own, other, emotion.weight).numpy())

    def _speaker_of(self, request: SynthesisRequest) -> tuple[Voice, bool]:
        if is_given(request.instruct_text):
            raise InvalidRequest("instruct_text", "this checkpoint does not follow instructions")
        wav, rate = request.reference_wav, request.reference_rate
        if wav is not None:
            shortest = self._limits.min_reference_seconds
            key = reference_key(wav, rate, "")
            return self._cache.get(key, lambda: self.reader.voice(wav, rate, shortest))
        name = request.voice if is_given(request.voice) else self._config.default_voice
        if name is None:
            raise InvalidRequest(
                "reference_wav",
                f"is missing, and this model has no default voice; {self._voices.describe()}",
            )
        return self._cache.get(self._voices.key(name), lambda: self._voices.load(name))

    @property
    def reader(self) -> VoiceReader:
        """Raises InvalidRequest where the model directory lacks what clones voices."""
        if self._reader is None:
            raise InvalidRequest(
                "reference_wav",
                "this checkpoint cannot clone voices: its model directory lacks "
                f"{' and '.join(self._missing)}; send no reference_wav to use a registered voice",
            )
        return self._reader

    @torch.inference_mode()
    def block(self, request: SynthesisRequest, index: int, voice: Voice) -> TextBlock:
        """Raises InvalidRequest for a voice of other sizes, and for what is wrong with the text."""
        if fault := voice.fault(self._config.gpt, self._config.reference):
            raise InvalidRequest("prepared_voice", fault)
        block = self._text.block(request.text, index, continues=request.continues)
        prefix = self._prompter.prefix(
            torch.from_numpy(voice.latents)[None], torch.from_numpy(voice.emotion)[None]
        )
        notes = (*(_notes(request, voice) if index == 0 else ()), *block.notes)
        pieces = [one for line in block.pieces for one in self._line(line, prefix)]
        if pieces:
            pieces[0], notes = replace(pieces[0], notes=notes), ()
        return TextBlock(tuple(pieces), notes, block.more)

    def _line(self, line: SpokenPiece, prefix: torch.Tensor) -> Iterator[TextPiece]:
        """The segments of a spoken line, which all begin where the line does."""
        parts = segments(self._tokenizer(line.text).texts)
        pause = line.pause
        for number, part in enumerate(parts):
            ids = self._tokenizer.ids_of(part)
            last = number + 1 == len(parts)
            yield TextPiece(
                Prompt(embeddings=self._prompter(prefix, ids)[0].numpy()),
                len(ids),
                text_of(part),
                pause=pause,
                speed=line.speed,
                start=line.start,
                pause_after=line.pause_after if last else 0.0,
            )
            pause = self._sentence_pause if ends_sentence(part) else 0.0

    def _length(self, text: str) -> int:
        return len(self._tokenizer(text).ids)


def _emotion_model(folder: Path, config: EmotionModelConfig | None) -> EmotionModel | None:
    """None too where its folder was moved away, to save memory."""
    if config is None or not folder.is_dir():
        return None
    return EmotionModel(folder, config, torch.get_num_threads())


def _notes(request: SynthesisRequest, voice: Voice) -> tuple[str, ...]:
    """On how the voice was made, and what of the request is not used."""
    unused = is_given(request.reference_text)
    return (*voice.notes, *(("reference_text is not used by this model",) if unused else ()))


def _check_vector(emotion: Emotion) -> None:
    if emotion.vector is not None and len(emotion.vector) != len(EMOTIONS):
        raise InvalidRequest(
            "emotion_vector",
            f"has {len(emotion.vector)} values; it has one for each of {', '.join(EMOTIONS)}",
        )


def _whole(text: str, language: str) -> list[str]:
    """A line in one part: pieces are cut into segments, not letters."""
    return [text] if is_speakable(text) else []


def _check_pieces(tokenizer: PieceTokenizer, text_ids: int) -> None:
    if tokenizer.size > text_ids:
        raise ModelDirectoryError(
            f"{TOKENIZER_FILE} has {tokenizer.size} pieces, and the language model knows {text_ids}"
        )
