"""Stage 'lm': train the speech language model on texts and codes."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.config import LanguageModelConfig, VoiceConfig
from training.dataset import Track
from training.language_model import Batch, SpeechLanguageModel
from training.loop import Training, autocast, device
from training.sequences import (
    COSYVOICE2,
    MIX_SPEECH,
    MIX_TEXT,
    Example,
    Order,
    Sequence,
    collate,
    interleaved,
    plain,
)
from training.text_tokens import TextTokens, train_tokenizer

HELD_OUT = 200  # utterances at the end of each track
POOL = 40  # batches drawn and sorted by length together


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
        sequences: list[Sequence] = []
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

    def _sequence(self, rng: np.random.Generator) -> Sequence:
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


def _groups(sequences: list[Sequence], budget: int) -> Iterator[list[Sequence]]:
    """Neighbours in length whose padded size stays under the budget."""
    group: list[Sequence] = []
    for sequence in sequences:
        if group and (len(group) + 1) * len(sequence.ids) > budget:
            yield group
            group = []
        group.append(sequence)
    if group:
        yield group


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
