"""What people type first: utterances of one to five words, and sentences of several clauses.

WordNet has few of either. Short ones are its single words and collocations, and templates; long
ones join its example sentences as people join clauses.
"""

import random
import re
from collections.abc import Iterator, Sequence

PERSONS = ("I", "you", "we", "they", "he", "she", "it")
BE = {"I": "am", "he": "is", "she": "is", "it": "is"}
ASK = ("who", "what", "where", "when", "why", "how")
OPENERS = ("yes", "no", "okay", "oh", "well", "please", "sorry", "thanks", "sure", "right", "wait")
GREETINGS = (
    "hello", "hi", "hey", "good morning", "good night", "good afternoon", "welcome", "goodbye",
    "bye", "see you", "thank you", "thanks a lot", "you are welcome", "excuse me", "take care",
    "nice to meet you", "happy birthday", "congratulations", "cheers", "my pleasure", "no problem",
    "no thanks", "of course not", "not yet", "not really", "maybe", "perhaps", "exactly", "never",
    "always", "at once", "right away", "all right", "very well", "come on", "hold on", "well done",
    "be quiet", "be careful", "calm down", "hurry up", "sit down", "stand up", "wake up", "go away",
    "get out", "watch out", "good luck", "good idea", "good job", "guess what", "forget it",
    "never mind", "no idea", "not bad", "not at all", "after you", "here you are", "there it is",
)  # fmt: skip
VERBS = (
    "look at", "listen to", "take", "read", "see", "like", "give me", "show me", "tell me about",
    "open", "close", "stop", "start", "play", "turn on", "turn off", "find", "hold", "bring",
    "call", "send", "write", "wait for", "think about", "try", "use", "move", "keep", "leave",
    "want", "need", "know", "remember", "forget", "love", "hate", "buy", "sell", "eat", "drink",
    "hear", "watch", "follow", "help", "ask", "pay for", "clean", "fix", "count", "share",
)  # fmt: skip
OBJECTS = (
    "this", "that", "it", "them", "him", "her", "me", "us", "everything", "something", "nothing",
    "one", "these", "those", "the door", "the window", "the light", "the book", "the music",
    "the car", "your name", "my phone", "a seat", "a break", "some water", "the news", "my friend",
)  # fmt: skip
QUALITIES = (
    "good", "bad", "great", "fine", "nice", "late", "early", "ready", "tired", "happy", "sorry",
    "sure", "right", "wrong", "cold", "hot", "big", "small", "new", "old", "here", "there", "done",
    "easy", "hard", "free", "busy", "true", "false", "better", "worse", "open", "closed", "mine",
)  # fmt: skip
MODALS = ("can", "could", "may", "must", "shall", "should", "will", "would", "do", "did")
DETERMINERS = ("the", "a", "my", "your", "this", "that", "some", "every", "no", "his", "her", "one")
JOINTS = (", and ", ", and ", ", and ", ", but ", ", but ", ", so ", ", or ", " and ", " because ",
          ", while ", ", which is why ", ", and then ", ", yet ")  # fmt: skip
LEADS = ("when", "if", "although", "because", "before", "after", "as", "while", "since", "until")
CLAUSE = re.compile(
    r"(?:I|he|she|we|they|you|it|the|his|her|my|our|their|this|that|there)\b[A-Za-z' -]*", re.I
)
PARTS = (2, 2, 2, 3, 3, 4)  # of a sentence
SHORTEST_CLAUSE, LONGEST_CLAUSE = 3, 10  # words


# Patterns of phrases: each {slot} is drawn anew; one that stands twice comes twice as often.
PATTERNS = (
    "{word}", "{word}", "{opener}", "{greeting}", "{determiner} {word}", "{verb} {object}",
    "{verb} {object}", "{person} {verb} {object}", "{being}", "{modal} {person} {verb} {object}?",
    "{modal} {person}?", "{ask}?", "{ask} is {object}?", "{ask} {quality}?",
    "{ask} {modal} {person}?", "so {ask}?", "{opener}, {opener}.", "{opener}, {verb} {object}.",
    "{degree} {quality}", "{which} {word}", "{preposition} {determiner} {word}",
    "let {whom} {deed}", "{number}", "{time}",
)  # fmt: skip
SLOTS = {
    "opener": OPENERS,
    "greeting": GREETINGS,
    "determiner": DETERMINERS,
    "verb": VERBS,
    "object": OBJECTS,
    "person": PERSONS[:4],
    "modal": MODALS,
    "ask": ASK,
    "quality": QUALITIES,
    "degree": ("so", "too", "very", "not", "how", "that is", "it is", "all"),
    "which": ("no", "any", "what", "which", "my", "all"),
    "preposition": ("in", "on", "at", "for", "with", "from", "by"),
    "whom": ("me", "us", "him", "her", "them", "it"),
    "deed": ("go", "see", "try", "be", "in", "know", "think", "play"),
    "number": tuple(map(str, range(121))),
    "time": tuple(f"{hour}:{minute}" for hour in range(1, 13) for minute in range(10, 60, 5)),
}


def short_phrases(rng: random.Random, words: Sequence[str], count: int) -> Iterator[str]:
    """Phrases of one to five words; `words` are those of a dictionary."""

    def drawn(slot: re.Match[str]) -> str:
        if slot[1] == "being":
            return _being(rng)
        return rng.choice(words if slot[1] == "word" else SLOTS[slot[1]])

    for _ in range(count):
        phrase = re.sub(r"\{(\w+)\}", drawn, rng.choice(PATTERNS))
        ending = "" if phrase[-1] in ".?" else rng.choice("......!!?")
        yield phrase[0].upper() + phrase[1:] + ending


def _being(rng: random.Random) -> str:
    person, quality = rng.choice(PERSONS), rng.choice(QUALITIES)
    verb = BE.get(person, "are")
    return f"{verb} {person} {quality}?" if rng.random() < 0.4 else f"{person} {verb} {quality}"


def many_clauses(rng: random.Random, examples: Sequence[str], count: int) -> Iterator[str]:
    """Two to four of the examples that are clauses, joined; the first may be a subordinate one.

    Nothing where fewer than four are.
    """
    clauses = [c for c in map(_clause, examples) if c]
    for _ in range(count if len(clauses) >= max(PARTS) else 0):
        parts = rng.sample(clauses, rng.choice(PARTS))
        sentence = parts[0]
        if rng.random() < 0.25:
            sentence, parts = f"{rng.choice(LEADS)} {parts[0]}, {parts[1]}", parts[1:]
        for part in parts[1:]:
            sentence += rng.choice(JOINTS) + part
        yield sentence[0].upper() + sentence[1:] + "."


def _clause(example: str) -> str:
    """The example as it stands inside a sentence, or nothing if it is no clause with a subject."""
    text = " ".join(example.split()).strip(" .")
    words = text.split()
    if not CLAUSE.fullmatch(text) or not SHORTEST_CLAUSE <= len(words) <= LONGEST_CLAUSE:
        return ""
    return text if words[0] == "I" or words[0].startswith("I'") else text[0].lower() + text[1:]
