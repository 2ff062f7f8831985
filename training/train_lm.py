"""Stage 'lm': train the speech language model on texts and codes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.config import LanguageModelConfig, VoiceConfig
from training.dataset import Track
from training.language_model import END, FILL, Batch, SpeechLanguageModel
from training.loop import Training, autocast, device
from training.text_tokens import TextTokens, train_tokenizer

HELD_OUT = 200  # utterances at the end of each track
MIX_TEXT, MIX_SPEECH = 5, 15
TEXT, SPEECH, MARK = 0, 1, 2
SOS, TASK = 0, 1
POOL = 40  # batches drawn and sorted by length together

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Example:
    """Texts and codes of one or several utterances joined.

    text (n,) ids; spoken (m,) index of the text token said at each code; codes (m,);
    silent: leading codes that are a prompt and not learned.
    """

    text: Ints
    spoken: Ints
    codes: Ints
    silent: int


class _Sequence:
    """Builds the four rows of one example."""

    def __init__(self) -> None:
        self.kind: list[int] = []
        self.ids: list[int] = []
        self.target: list[int] = []
        self.aligned: list[tuple[int, int]] = []
        self._text_at: list[int] = []

    def mark(self, which: int) -> None:
        self._add(MARK, which)

    def lead(self, ids: tuple[int, ...]) -> None:
        """Text that is not spoken."""
        for value in ids:
            self._add(TEXT, value)

    def text(self, ids: Ints) -> None:
        for value in ids:
            self._text_at.append(len(self.ids))
            self._add(TEXT, int(value))

    def speech(self, example: Example, begin: int, end: int, stop: int) -> None:
        """Codes begin .. end, then `stop` as the last target."""
        targets = [*example.codes[begin:end].tolist(), stop]
        for offset, target in enumerate(targets):
            learned = begin + offset >= example.silent
            if learned:
                self.target[-1] = target
                self.aligned[-1] = self._positions(example, begin + offset)
            if offset < end - begin:
                self._add(SPEECH, target)

    def _positions(self, example: Example, code: int) -> tuple[int, int]:
        if code >= len(example.spoken):
            return -1, -1
        index = int(example.spoken[code])
        known = len(self._text_at)
        now = self._text_at[index] if index < known else -1
        return now, self._text_at[index + 1] if index + 1 < known else -1

    def _add(self, kind: int, value: int) -> None:
        self.kind.append(kind)
        self.ids.append(value)
        self.target.append(-1)
        self.aligned.append((-1, -1))


@dataclass(frozen=True)
class Order:
    """lead: ids before every text. end, fill: speech rows that stand for them."""

    lead: tuple[int, ...] = ()
    end: int = END
    fill: int = FILL


COSYVOICE2 = Order()


def plain(example: Example, order: Order = COSYVOICE2) -> _Sequence:
    """sos, lead, all text, task_id, all speech, end."""
    sequence = _Sequence()
    sequence.mark(SOS)
    sequence.lead(order.lead)
    sequence.text(example.text)
    sequence.mark(TASK)
    sequence.speech(example, 0, len(example.codes), order.end)
    return sequence


def interleaved(example: Example, order: Order = COSYVOICE2) -> _Sequence:
    """Five text, fifteen speech and so on (CosyVoice2); a fill token asks for more text."""
    sequence = _Sequence()
    sequence.mark(SOS)
    sequence.lead(order.lead)
    blocks = len(example.text) // MIX_TEXT
    for block in range(blocks):
        sequence.text(example.text[block * MIX_TEXT : (block + 1) * MIX_TEXT])
        sequence.speech(example, block * MIX_SPEECH, (block + 1) * MIX_SPEECH, order.fill)
    sequence.text(example.text[blocks * MIX_TEXT :])
    sequence.mark(TASK)
    sequence.speech(example, blocks * MIX_SPEECH, len(example.codes), order.end)
    return sequence


class Examples:
    """Endless batches by pools; the seed and the pool's number decide which utterances are joined.

    The pieces that BPE-dropout leaves are drawn by the tokenizers package, which takes no seed: a
    resumed run sees the same utterances cut into other pieces.
    """

    def __init__(
        self,
        tracks: list[Track],
        tokens: Path,
        config: LanguageModelConfig,
        order: Order = COSYVOICE2,
    ) -> None:
        self._tracks, self.config, self._order = tracks, config, order
        self._dropping = TextTokens(tokens, config.bpe_dropout)
        self._whole = TextTokens(tokens)
        utterances = [len(t.lengths) - HELD_OUT for t in tracks]
        self._weights = np.array(utterances) / sum(utterances)

    def batches(self, pool: int) -> list[Batch]:
        """The POOL batches of one pool, in random order; some of the longest examples are lost."""
        rng = np.random.default_rng([self.config.loop.seed, pool])
        sequences: list[_Sequence] = []
        positions = 0
        while positions < POOL * self.config.batch_tokens:
            sequences.append(self._sequence(rng))
            positions += len(sequences[-1].ids)
        sequences.sort(key=lambda s: len(s.ids))
        groups = list(_groups(sequences, self.config.batch_tokens))
        batches = [collate(groups[i]) for i in rng.permutation(len(groups))[:POOL]]
        return batches

    def validation(self, track: Track) -> list[Batch]:
        """The held-out utterances of one speaker, merges whole."""
        prompted = track.speaker in self.config.prompted
        sequences = []
        for index in range(len(track.lengths) - HELD_OUT, len(track.lengths) - 1):
            silent, part = ([index], index + 1) if prompted else ([], index)
            example = self._join(track, silent, [part], self._whole)
            sequences.append(plain(example, self._order))
        sequences.sort(key=lambda s: len(s.ids))
        return [collate(group) for group in _groups(sequences, self.config.batch_tokens)]

    def _sequence(self, rng: np.random.Generator) -> _Sequence:
        track = self._tracks[rng.choice(len(self._tracks), p=self._weights)]
        config = self.config
        prompted = track.speaker in config.prompted or rng.random() < config.prompts
        silent = (
            self._drawn(track, rng, rng.random() ** 2 * config.longest_prompt) if prompted else []
        )
        most = rng.choice([0, 0, 0, 0.3, 0.6, 1.0]) * config.longest_tokens
        parts = self._drawn(track, rng, most)
        tokens = self._dropping if rng.random() < 0.5 else self._whole
        worn = bool(silent) and rng.random() < config.worn
        example = self._join(track, silent, parts, tokens, worn=worn)
        ratio = MIX_SPEECH / MIX_TEXT
        fits = len(example.codes) > ratio * (len(example.text) + MIX_TEXT)
        if fits and not prompted and rng.random() < config.interleaved:
            return interleaved(example, self._order)
        return plain(example, self._order)

    @staticmethod
    def _drawn(track: Track, rng: np.random.Generator, most: float) -> list[int]:
        """Utterances of up to `most` tokens together, at least one."""
        usable, total, parts = len(track.lengths) - HELD_OUT, 0, list[int]()
        while not parts or total < most:
            index = int(rng.integers(0, usable))
            total += int(track.lengths[index])
            if parts and total > most:
                break
            parts.append(index)
        return parts

    @staticmethod
    def _join(
        track: Track, silent: list[int], parts: list[int], tokens: TextTokens, *, worn: bool = False
    ) -> Example:
        """silent: utterances that are a prompt; worn: badly recorded."""
        texts, spoken, codes, before = [], [], [], 0
        for place, index in enumerate((*silent, *parts)):
            ids, ends = tokens.encode(track.texts[index], track.ends[index])
            begin, end = track.starts[index], track.starts[index + 1]
            middles = np.arange(end - begin) + 0.5
            at = np.minimum(np.searchsorted(ends, middles), len(ids) - 1)
            texts.append(ids)
            spoken.append(at + before)
            source = track.worn_codes if worn and place < len(silent) else track.codes
            codes.append(source[begin:end].astype(np.int64))
            before += len(ids)
        prompt = sum(len(part) for part in codes[: len(silent)])
        return Example(np.concatenate(texts), np.concatenate(spoken), np.concatenate(codes), prompt)


def _groups(sequences: list[_Sequence], budget: int) -> Iterator[list[_Sequence]]:
    """Neighbours in length whose padded size stays under the budget."""
    group: list[_Sequence] = []
    for sequence in sequences:
        if group and (len(group) + 1) * len(sequence.ids) > budget:
            yield group
            group = []
        group.append(sequence)
    if group:
        yield group


def collate(sequences: list[_Sequence]) -> Batch:
    length = max(len(s.ids) for s in sequences)

    def padded(rows: list[list[int]], fill: int) -> Tensor:
        out = torch.full((len(rows), length), fill)
        for row, values in zip(out, rows, strict=True):
            row[: len(values)] = torch.tensor(values)
        return out

    aligned = torch.full((len(sequences), length, 2), -1)
    for row, sequence in zip(aligned, sequences, strict=True):
        row[: len(sequence.aligned)] = torch.tensor(sequence.aligned)
    return Batch(
        padded([s.kind for s in sequences], MARK),
        padded([s.ids for s in sequences], 0),
        padded([s.target for s in sequences], -1),
        aligned,
    )


class LanguageModelTraining:
    def __init__(self, work: Path, voice: VoiceConfig) -> None:
        self.config = voice.language_model
        self.tracks = [Track(work, name) for name in voice.speakers]
        tokens = work / "tokenizer.json"
        if not tokens.is_file():
            train_tokenizer((t for track in self.tracks for t in track.texts), voice.text, tokens)
        self.examples = Examples(self.tracks, tokens, self.config, self.order(work))
        torch.manual_seed(self.config.loop.seed)
        self.model = self.network(work, TextTokens(tokens).spelling())
        self._pool, self._batches = -1, list[Batch]()

    def order(self, work: Path) -> Order:
        return COSYVOICE2

    def network(self, work: Path, spelling: Tensor) -> SpeechLanguageModel:
        return SpeechLanguageModel(self.config, spelling)

    def _batch(self, step: int) -> Batch:
        if step // POOL != self._pool:
            self._pool = step // POOL
            self._batches = self.examples.batches(self._pool)
        return self._batches[step % POOL]

    def losses(self, step: int) -> dict[str, Tensor]:
        with autocast():
            entropy, guide = self.model(self._batch(step).to(device()))
        return {
            "loss": entropy + self.config.guide_weight * guide,
            "entropy": entropy,
            "guide": guide,
        }

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        self.model.eval()
        results = {}
        for track in self.tracks:
            entropy, accuracy = self._score(self.examples.validation(track))
            results[f"entropy_{track.speaker}"] = entropy
            results[f"accuracy_{track.speaker}"] = accuracy
        return results

    def _score(self, batches: list[Batch]) -> tuple[float, float]:
        """Mean cross-entropy and share of targets that greedy decoding would hit."""
        total, right, entropy = 0, 0, 0.0
        for batch in (b.to(device()) for b in batches):
            with autocast():
                scores = self.model.scores(batch).float()
            target = batch.target[batch.target >= 0]
            total += len(target)
            right += int((scores.argmax(1) == target).sum())
            entropy += float(torch.nn.functional.cross_entropy(scores, target, reduction="sum"))
        return entropy / total, right / total


def train(work: Path, voice: VoiceConfig) -> None:
    run = LanguageModelTraining(work, voice)
    Training(work / "lm", run.model, voice.language_model.loop).run(run.losses, run.validate)
