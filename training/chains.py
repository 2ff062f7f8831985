"""Stage 'chains': the test sentences through ever more of the voice, to see which part is weak.

Wave files for python -m evaluation --wavs, in WORK/chains/CHAIN/SPEAKER:

- teacher: the teacher's own audio;
- vocoder: its mel through the vocoder;
- flow: its speech codes through flow and vocoder.

The full chain is the exported model itself.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from evaluation.sentences import Sentence, sentences
from evaluation.subjects import Speech, save
from training.config import VoiceConfig
from training.dataset import Track
from training.speech import read_aloud, teacher
from training.teachers import RATE
from training.train_flow import load_flow
from training.train_polish import load_polished
from training.train_speaker_encoder import load_speaker_encoder
from training.train_tokenizer import load_encoder
from training.voices import speaker_vector
from tritone.arrays import Float32
from tritone.families.cosyvoice2.flow import Flow, FlowPrompt
from tritone.families.cosyvoice2.voice import prompt_mel
from tritone.frontend.audio.features import whisper_log_mel
from tritone.frontend.audio.resample import resample
from tritone.frontend.text.normalize import TextNormalizer

LISTS = ("harvard", "own")
NOISE_SECONDS = 30


class Chains:
    """The trained modules, each fed with what its teacher gives in place of the module before."""

    def __init__(self, work: Path, voice: VoiceConfig) -> None:
        self._voice = voice
        self._tokenizer = load_encoder(work, voice.tokenizer)
        self._flow = Flow.of(load_flow(work, voice))
        self._vocoder = load_polished(work, voice)
        encoder = load_speaker_encoder(work, voice.speaker_encoder)
        self._vectors = {
            name: speaker_vector(Track(work, name), encoder) for name in voice.speakers
        }
        self._normalize = TextNormalizer()
        generator = torch.Generator().manual_seed(0)
        frames, mel = NOISE_SECONDS * 50, voice.flow.model.output_size
        scale = voice.flow.model.solver.start_noise_scale
        self._noise = torch.randn(frames, mel, generator=generator) * scale

    @torch.inference_mode()
    def speak(self, speaker: str, sentence: Sentence) -> dict[str, Float32]:
        """Waveforms at 24 kHz by chain; empty when the teacher cannot read the sentence."""
        config = self._voice.speakers[speaker]
        spoken = read_aloud(
            self._normalize(sentence.text), teacher(config.teacher), self._voice.speech, 0
        )
        if spoken is None:
            return {}
        log_mel = torch.from_numpy(whisper_log_mel(resample(spoken.wav, RATE, 16000)))
        codes = self._tokenizer.codes(log_mel[None])[0]
        empty = torch.zeros(0, self._voice.flow.model.output_size)
        prompt = FlowPrompt(codes[:0], empty, self._vectors[speaker], self._noise)
        restored = self._flow(codes, prompt, chunked=True, finalize=True)
        return {
            "teacher": spoken.wav,
            "vocoder": self._voiced(torch.from_numpy(prompt_mel(spoken.wav)).mT),
            "flow": self._voiced(restored),
        }

    def _voiced(self, mel: Tensor) -> Float32:
        samples = mel.shape[1] * self._voice.vocoder.model.samples_per_frame
        generator = torch.Generator().manual_seed(0)
        harmonics = self._voice.vocoder.model.nb_harmonics + 1
        noise = torch.randn(1, samples, harmonics, generator=generator)
        wav: Float32 = self._vocoder(mel.contiguous(), noise).numpy().astype(np.float32)
        return wav


def write(work: Path, voice: VoiceConfig) -> None:
    chains = Chains(work, voice)
    for speaker in voice.speakers:
        for sentence in tqdm([s for name in LISTS for s in sentences(name)], desc=speaker):
            for chain, wav in chains.speak(speaker, sentence).items():
                folder = work / "chains" / chain
                save(folder, sentence, speaker, Speech(wav, RATE))
