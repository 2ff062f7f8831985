"""The voices of the checkpoint: speaker vectors, and a spoken prompt where a speaker needs one."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from training.config import SpeakerConfig, VoiceConfig
from training.dataset import Track
from training.speaker_encoder import SpeakerEncoder
from training.speech import FRAMES_PER_TOKEN, SAMPLES_PER_TOKEN, pronouncer
from training.teachers import RATE
from training.text_tokens import PUNCTUATION, TextTokens
from training.train_speaker_encoder import embeddings, fbank_of, load_speaker_encoder

UTTERANCES = 50  # that the mean vector of a speaker is taken over, and candidates for the prompt
SHORTEST_SECONDS, LONGEST_SECONDS = 1.5, 2.1  # of a prompt, every second of which delays speech
FEWEST_WORDS = 4
# Half of the corpus is definitions, which are no sentences; what begins so nearly always is one.
SUBJECTS = ("I", "he", "she", "we", "they", "you")

Entry = dict[str, str | Tensor]


@dataclass(frozen=True)
class Reference:
    """One utterance of a track: its index there, and its sentence in ordinary spelling."""

    index: int
    sentence: str


def speaker_vector(track: Track, encoder: SpeakerEncoder) -> Tensor:
    """(embedding,) mean over utterances, not normalised."""
    return embeddings(track, encoder, UTTERANCES).mean(dim=0)


@torch.inference_mode()
def reference_utterance(track: Track, encoder: SpeakerEncoder, sentences: list[str]) -> Reference:
    """The whole sentence of 1.5 to 2.1 s whose speaker vector lies nearest to the speaker's mean.

    sentences: what the speaker was given to read, in order. Raises SystemExit when no utterance of
    the track will do.
    """
    candidates = list(islice(_whole_sentences(track), UTTERANCES))
    if not candidates:
        raise SystemExit(
            f"no utterance of {track.speaker} is a sentence of {FEWEST_WORDS} words or more with "
            f"one of {', '.join(SUBJECTS)} as its subject that takes {SHORTEST_SECONDS} to "
            f"{LONGEST_SECONDS} s: generate more speech"
        )
    mean = speaker_vector(track, encoder)
    vectors = [encoder(torch.from_numpy(fbank_of(track, i, 1.0))[None])[0] for i in candidates]
    nearest = int(F.cosine_similarity(torch.stack(vectors), mean[None]).argmax())
    index = candidates[nearest]
    return Reference(index, _sentence(track.texts[index], sentences))


def _whole_sentences(track: Track) -> Iterator[int]:
    """Utterances of the right length that are one clause from its subject to the full stop."""
    subjects = {pronouncer()(f"{word} went home.").text.split()[0] for word in SUBJECTS}
    seconds = track.lengths * (SAMPLES_PER_TOKEN / RATE)
    for index in np.flatnonzero((seconds >= SHORTEST_SECONDS) & (seconds <= LONGEST_SECONDS)):
        text = track.texts[index]
        words = text.split()
        clause = text.endswith(".") and not any(mark in text[:-1] for mark in PUNCTUATION)
        if clause and len(words) >= FEWEST_WORDS and words[0] in subjects:
            yield int(index)


def _sentence(text: str, sentences: list[str]) -> str:
    """The sentence that reads as `text`; sentences that could not be spoken have no utterance."""
    found = next((s for s in sentences if pronouncer()(s).text == text), None)
    if found is None:
        raise SystemExit("the corpus is not the one that was spoken: generate the speech again")
    return found


def prompted_entry(track: Track, vector: Tensor, reference: Reference, tokens: TextTokens) -> Entry:
    """A voice with a prompt, in the fields that upstream's Triton runtime reads.

    The transcript is ordinary text, for whoever reads it turns text into phonemes.
    """
    begin, end = track.starts[reference.index], track.starts[reference.index + 1]
    mel = track.mel[begin * FRAMES_PER_TOKEN : end * FRAMES_PER_TOKEN].astype(np.float32)
    ids, _ = tokens.encode(track.texts[reference.index], track.ends[reference.index])
    return {
        "name": track.speaker,
        "spk_id": track.speaker,
        "prompt_text": reference.sentence,
        "prompt_text_token": torch.from_numpy(ids.astype(np.int32))[None],
        "speech_token": torch.from_numpy(track.codes[begin:end].astype(np.int32))[None],
        "speech_feat": torch.from_numpy(mel)[None],
        "embedding": vector[None],
    }


def voices(work: Path, voice: VoiceConfig) -> dict[str, Entry]:
    """The content of spk2info.pt: an entry for each speaker of the configuration."""
    encoder = load_speaker_encoder(work, voice.speaker_encoder)
    tokens = TextTokens(work / "tokenizer.json")
    lines = (work / "corpus.txt").read_text(encoding="utf-8").splitlines()
    entries: dict[str, Entry] = {}
    for name, speaker in voice.speakers.items():
        track = Track(work, name)
        vector = speaker_vector(track, encoder)
        entries[name] = {"embedding": vector[None]}
        if name in voice.language_model.prompted:
            reference = reference_utterance(track, encoder, _read_by(speaker, lines))
            entries[name] = prompted_entry(track, vector, reference, tokens)
    return entries


def _read_by(speaker: SpeakerConfig, lines: list[str]) -> list[str]:
    return lines[speaker.first : speaker.first + speaker.utterances]
