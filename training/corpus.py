"""Text corpus: sentences of WordNet's glosses and examples, and spoken forms of numbers.

WordNet 3.0 comes as a Debian package (wordnet-base). Its definitions and examples are short, cover
the common vocabulary and have a permissive licence. What they lack is said in templates: times,
prices, dates, greetings and questions.
"""

import random
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase

from evaluation.sentences import LISTS, sentences
from training.config import CorpusConfig, VoiceConfig
from training.phrases import many_clauses, short_phrases
from tritone.checkpoints.atomic_write import written_whole
from tritone.families.cosyvoice2.released_tokenizer import TAGS
from tritone.frontend.text.normalize import TextNormalizer

PACKAGE = "wordnet-base"
PARTS = ("noun", "verb", "adj", "adv")
READABLE = re.compile(r"[A-Za-z][A-Za-z' ,.?!-]*")
ADDRESS = ("good morning", "good afternoon", "hello", "thank you", "excuse me", "welcome back")
NAMES = ("Anna", "David", "Maria", "Peter", "Susan", "Michael", "Linda", "Robert", "Emma", "John")
SENSES = 3  # of a word that counts as common
DRAWS = 3  # times as many phrases are drawn as wanted, since some come twice
THINGS = ("ticket", "train", "meeting", "parcel", "table", "flight", "order", "room", "letter")
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September")


def download_wordnet(folder: Path) -> Path:
    """The directory of WordNet's data files, fetched with apt-get into `folder` when missing."""
    found = folder / "wordnet" / "usr" / "share" / "wordnet"
    if found.is_dir():
        return found
    folder.mkdir(parents=True, exist_ok=True)
    if shutil.which("apt-get") is None:
        raise SystemExit(f"apt-get is missing: unpack Debian's {PACKAGE} into {folder / 'wordnet'}")
    subprocess.run(["apt-get", "download", PACKAGE], cwd=folder, check=True)
    (archive,) = sorted(folder.glob(f"{PACKAGE}_*.deb"))[-1:]
    partial = folder / "wordnet.partial"
    subprocess.run(["dpkg", "-x", str(archive), str(partial)], check=True)
    partial.replace(folder / "wordnet")
    return found


def wordnet_sentences(data: Path) -> Iterator[str]:
    """Definitions and quoted examples, as written."""
    for part in PARTS:
        for line in (data / f"data.{part}").read_text(encoding="latin-1").splitlines():
            if line.startswith("  ") or " | " not in line:
                continue
            gloss = line.split(" | ", 1)[1]
            yield from re.findall(r'"([^"]+)"', gloss)
            definition = re.sub(r'"[^"]*"?', "", gloss)
            yield from re.sub(r"\([^)]*\)", "", definition).split(";")


def wordnet_words(data: Path) -> list[str]:
    """Words, and pairs of words, that WordNet has several senses of: the common ones."""
    words = set[str]()
    for part in PARTS:
        for line in (data / f"index.{part}").read_text(encoding="latin-1").splitlines():
            entry = line.split()
            if line.startswith("  ") or int(entry[2]) < SENSES:
                continue
            if re.fullmatch("[a-z]+(_[a-z]+)?", entry[0]):
                words.add(entry[0].replace("_", " "))
    return sorted(words)


def template_sentences(rng: random.Random, count: int) -> Iterator[str]:
    """Greetings, times, prices, dates, numbers and questions, written as people write them."""

    def number(top: int) -> int:
        return rng.randint(1, top)

    for _ in range(count):
        name, thing = rng.choice(NAMES), rng.choice(THINGS)
        yield rng.choice(
            (
                f"{rng.choice(ADDRESS)}, {name}.",
                f"The {thing} costs ${number(999)}.{number(89) + 10}.",
                f"It is {number(12)}:{number(49) + 10} in the morning.",
                f"{name} was born on {rng.choice(MONTHS)} {number(28)}, {1900 + number(120)}.",
                f"The year is {1900 + number(99)}.",
                f"Your {thing} number is {number(9999)}.",
                f"{number(99)}% of them had a {thing}.",
                f"Is the {thing} ready, {name}?",
                f"Where is the {thing}, and when does it leave?",
                f"{number(9999)}, {number(999)}, {number(99)}, {number(9)}.",
                f"{name} and {rng.choice(NAMES)} will be here at {number(12)} o'clock.",
                f"{', '.join(rng.choice(ascii_uppercase) for _ in range(4))}.",
            )
        )


def _tidy(sentence: str) -> str:
    sentence = " ".join(sentence.split()).strip(" ,-'")
    return sentence if sentence.endswith((".", "?", "!")) else sentence + "."


def write(work: Path, voice: VoiceConfig) -> None:
    """Stage 'corpus': WORK/corpus.txt, one sentence a line in random order.

    The sentences that the voice is judged by are left out, as written and as spoken.
    """
    path, config = work / "corpus.txt", voice.corpus
    if path.is_file():
        return
    rng = random.Random(config.seed)
    judged = [sentence.text for name in LISTS for sentence in sentences(name)]
    normalize = TextNormalizer(TAGS)
    seen = {comparable(text) for text in (*judged, *map(normalize, judged))}
    data = download_wordnet(work)
    lines: list[str] = []
    for share in _shares(rng, data, config, normalize):
        lines += _unseen(share, seen)
    rng.shuffle(lines)
    with written_whole(path) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class _Share:
    """A part of the corpus: of `texts` the first `most`, of `shortest` to `longest` words."""

    texts: Iterable[str]
    most: int
    shortest: int
    longest: int


def _shares(
    rng: random.Random, data: Path, config: CorpusConfig, normalize: TextNormalizer
) -> Iterator[_Share]:
    ordinary = config.shortest_words, config.longest_words
    written = list(wordnet_sentences(data))
    rng.shuffle(written)
    yield _Share(written, config.sentences, *ordinary)
    made = template_sentences(rng, config.templates)
    yield _Share(map(normalize, made), config.templates, *ordinary)
    phrases = short_phrases(rng, wordnet_words(data), DRAWS * config.phrases)
    yield _Share(map(normalize, phrases), config.phrases, 1, config.shortest_words + 2)
    joined = many_clauses(rng, written, DRAWS * config.clauses)
    yield _Share(joined, config.clauses, config.shortest_words, config.longest_clauses)


def _unseen(share: _Share, seen: set[str]) -> Iterator[str]:
    """The readable sentences of a share whose words have not come before."""
    found = 0
    for sentence in map(_tidy, share.texts):
        key = comparable(sentence)
        if key in seen or not READABLE.fullmatch(sentence):
            continue
        if share.shortest <= len(key.split()) <= share.longest and found < share.most:
            seen.add(key)
            found += 1
            yield sentence


def comparable(sentence: str) -> str:
    """Lower-case letters and single blanks: two sentences with the same words are equal."""
    return " ".join(re.sub(r"[^a-z ]", " ", sentence.lower().replace("'", "")).split())
