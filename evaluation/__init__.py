"""How good the speech is: words, voice, sound, seams and length, for a model, a server or files.

`python -m evaluation` is the command. Training code calls `score` for the words alone:

    from evaluation import score

    print(score([("Hello there.", wav, 24000)]).wer)

The speech recogniser and the other judges are packages of the extra `asr`; without them everything
that needs none still works and the rest raises EnvironmentProblem.
"""

from evaluation.recognizer import Recognizer, score
from evaluation.sentences import LISTS, Sentence, sentences
from evaluation.words import Score, SentenceErrors

__all__ = [
    "LISTS",
    "Recognizer",
    "Score",
    "Sentence",
    "SentenceErrors",
    "score",
    "sentences",
]
