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


def short_phrases(rng: random.Random, words: Sequence[str], count: int) -> Iterator[str]:
    """Endlessly varied phrases of one to five words; `words` are those of a dictionary."""
    makers = (
        lambda: rng.choice(words),
        lambda: rng.choice(words),
        lambda: rng.choice(OPENERS),
        lambda: rng.choice(GREETINGS),
        lambda: f"{rng.choice(DETERMINERS)} {rng.choice(words)}",
        lambda: f"{rng.choice(VERBS)} {rng.choice(OBJECTS)}",
        lambda: f"{rng.choice(VERBS)} {rng.choice(OBJECTS)}",
        lambda: f"{rng.choice(PERSONS[:4])} {rng.choice(VERBS)} {rng.choice(OBJECTS)}",
        lambda: _be(rng),
        lambda: (
            f"{rng.choice(MODALS)} {rng.choice(PERSONS[:4])} {rng.choice(VERBS)} "
            f"{rng.choice(OBJECTS)}?"
        ),
        lambda: f"{rng.choice(MODALS)} {rng.choice(PERSONS)}?",
        lambda: f"{rng.choice(ASK)}?",
        lambda: f"{rng.choice(ASK)} is {rng.choice(OBJECTS)}?",
        lambda: f"{rng.choice(ASK)} {rng.choice(QUALITIES)}?",
        lambda: f"{rng.choice(ASK)} {rng.choice(MODALS)} {rng.choice(PERSONS)}?",
        lambda: f"so {rng.choice(ASK)}?",
        lambda: f"{rng.choice(OPENERS)}, {rng.choice(OPENERS)}.",
        lambda: f"{rng.choice(OPENERS)}, {rng.choice(VERBS)} {rng.choice(OBJECTS)}.",
        lambda: (
            f"{rng.choice(('so', 'too', 'very', 'not', 'how', 'that is', 'it is', 'all'))} "
            f"{rng.choice(QUALITIES)}"
        ),
        lambda: f"{rng.choice(('no', 'any', 'what', 'which', 'my', 'all'))} {rng.choice(words)}",
        lambda: (
            f"{rng.choice(('in', 'on', 'at', 'for', 'with', 'from', 'by'))} "
            f"{rng.choice(DETERMINERS)} {rng.choice(words)}"
        ),
        lambda: (
            f"let {rng.choice(('me', 'us', 'him', 'her', 'them', 'it'))} "
            f"{rng.choice(('go', 'see', 'try', 'be', 'in', 'know', 'think', 'play'))}"
        ),
        lambda: f"{rng.randint(0, 120)}",
        lambda: f"{rng.randint(1, 12)}:{rng.randint(1, 5)}{rng.choice('05')}",
    )
    for _ in range(count):
        phrase = rng.choice(makers)()
        ending = "" if phrase[-1] in ".?" else rng.choice("......!!?")
        yield phrase[0].upper() + phrase[1:] + ending


def _be(rng: random.Random) -> str:
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
