"""Whether what is said is what is written, from where in the text each speech token was said.

Some language models have attention heads that look at the text token being spoken. Their path
through the text is a staircase; speech that is said twice, left out, cut short or stuck is not.
"""

from dataclasses import dataclass, field

import numpy as np

from tritone.llm.contract import Increment
from tritone.synthesis.rules import Guard

# In text tokens, of which a word has one to four. The heads flicker by one or two of them, at the
# end of the text by one, and short ones are passed unseen.
AHEAD, BACK, BACK_AT_END = 3, 2, 1
LONG, UNSEEN = 8, 2  # in a text of so many the last ones may be passed so; in others the last one
# In speech tokens, at 25 a second.
CERTAIN = 3  # that stand elsewhere before it is believed
SILENT = 2  # on the last text token, after which speech has ended
LONGEST_END = 20  # on the last text token
LONGEST_STAY = 20  # on any other, pauses too; the teachers' longest is 21, one in 10,000 is 19


@dataclass(frozen=True)
class Verdict:
    """On some new tokens. tokens: those of them, and of the ones before, that may be spoken.
    problem: what is wrong with the next ones. over: the text has been said; no more is wanted."""

    tokens: Increment
    problem: str = ""
    over: bool = False


NOTHING = Increment(np.zeros(0, np.int32))


@dataclass
class TextGuard:
    """Follows one text of `length` text tokens that begins at `start` of the prompt.

    ids: of these tokens, where they are known: one that comes twice is the one that is due.
    lenient: a leap is noted alone, since nobody will try again. dropped: text tokens at the
    beginning that the present generation's prompt does not have, since they have been said.
    """

    start: int
    length: int
    lenient: bool = False
    dropped: int = 0
    ids: tuple[int, ...] = ()
    place: int = 0  # text token that is being said
    furthest: int = 0
    _stay: int = 0  # tokens since the furthest place changed
    _held: list[Increment] = field(default_factory=list)  # those that stand elsewhere
    _leaps: list[str] = field(default_factory=list)
    _stuck: bool = False

    def admit(self, increment: Increment) -> Verdict:
        """Judge tokens one by one, as far as the first that is not to be spoken."""
        assert increment.said is not None
        passed: list[Increment] = []
        begin = 0  # of those that pass and are not in the list yet
        for index, said in enumerate(increment.said.tolist()):
            place = self._place_of(said)
            if self._near(place):
                passed += self._released()
                problem, over = self._moved(place)
                kept = index + 1
            else:
                if begin < index:
                    passed.append(increment[begin:index])
                self._held.append(increment[index : index + 1])
                begin = kept = index + 1
                problem, over = self._elsewhere(place, passed)
            if problem or over:
                passed.append(increment[begin:kept])
                return Verdict(Increment.joined(passed), problem, over)
        if begin == 0 and not passed:
            return Verdict(increment)
        return Verdict(Increment.joined([*passed, increment[begin:]]))

    def _released(self) -> list[Increment]:
        held, self._held = self._held, []
        return held

    def ended(self) -> Verdict:
        """Judge speech that has ended by itself."""
        held = self._released()
        unseen = UNSEEN if self.length >= LONG else 1
        problem = f"ended {self.left} text tokens early" if self.left > unseen else ""
        return Verdict(NOTHING if problem else Increment.joined(held), problem)

    def again(self, *, lenient: bool, dropped: int = 0) -> None:
        """Go on with another generation, after the last token that was passed or, where the prompt
        has lost the text up to `dropped`, with the rest of the text alone."""
        self._held, self._stay, self.lenient, self.dropped = [], 0, lenient, dropped
        if dropped:
            self.place, self.furthest = dropped, max(dropped, self.furthest)

    @property
    def rest(self) -> int:
        """Text tokens before the first that has not been said; one that speech was stuck at has
        not been."""
        return self.furthest if self._stuck else self.furthest + 1

    @property
    def notes(self) -> tuple[str, ...]:
        """On what was let pass."""
        return tuple(self._leaps)

    @property
    def left(self) -> int:
        """Text tokens not said yet."""
        return self.length - 1 - self.furthest

    def _place_of(self, said: int) -> int:
        """Where in the text; where speech is, if the heads looked at nothing that is to be said."""
        place = said - self.start + self.dropped
        return self._due(place) if self.dropped <= place < self.length else self.place

    def _elsewhere(self, place: int, passed: list[Increment]) -> tuple[str, bool]:
        """After one more token that was held: whether it is to be believed."""
        return self._leapt(place, passed) if len(self._held) >= CERTAIN else ("", False)

    def _due(self, place: int) -> int:
        """The place itself, or the one with the same token that comes next."""
        if not self.ids:
            return place
        ahead = range(self.place, min(self.place + AHEAD + 1, self.length))
        alike = (p for p in ahead if self.ids[p] == self.ids[place] and self._near(p))
        return next(alike, place)

    def _near(self, place: int) -> bool:
        """Whether it is where speech may be next. Once the end has been heard it is the end."""
        if self.place == self.length - 1 and self._stay >= SILENT:
            return place == self.place
        back = BACK if self.left > 1 else BACK_AT_END
        return -back <= place - self.place <= AHEAD

    def _moved(self, place: int) -> tuple[str, bool]:
        self._stay = self._stay + 1 if place <= self.furthest else 0
        self._stuck = self._stay > LONGEST_STAY
        self.place, self.furthest = place, max(self.furthest, place)
        if self.furthest == self.length - 1:
            return "", self._stay > LONGEST_END
        if self._stuck:
            return f"stuck at text token {self.furthest} of {self.length}", False
        return "", False

    def _leapt(self, place: int, passed: list[Increment]) -> tuple[str, bool]:
        said = self.left == 0 or (self.left == 1 and self._stay >= CERTAIN)
        if place < self.place and said:
            return "", True  # said once, and begun again
        kind = "leapt" if place > self.place else "went back"
        problem = f"{kind} from text token {self.place} to {place} of {self.length}"
        if not self.lenient:
            return problem, False
        self._leaps.append(problem)
        passed += self._released()
        return self._moved(place)


@dataclass
class SpeechGuard:
    """A family's guard over the tokens of a segment, and one over its text. The latter counts once
    tokens come with what they are said for: not every runtime tells that."""

    tokens: Guard
    text_guard: TextGuard | None
    _told: bool = False

    @property
    def text(self) -> TextGuard | None:
        return self.text_guard if self._told else None

    @property
    def count(self) -> int:
        """Tokens that were passed."""
        return self.tokens.count

    def admit(self, increment: Increment) -> Verdict:
        """Raises StageFailed for a token that must never reach the flow."""
        self._told |= increment.said is not None
        verdict = self.text.admit(increment) if self.text else Verdict(increment)
        problem = self.tokens.admit(verdict.tokens)
        return Verdict(NOTHING, problem) if problem else verdict

    def ended(self, target_tokens: int) -> Verdict:
        verdict = self.text.ended() if self.text else Verdict(NOTHING)
        problem = self.tokens.admit(verdict.tokens) or self.tokens.ended(target_tokens)
        return Verdict(verdict.tokens, verdict.problem or problem)
