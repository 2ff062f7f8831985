"""Whether what is said is what is written, from where in the text each speech token was said.

Some language models have attention heads that look at the text token being spoken. Their path
through the text is a staircase; speech that is said twice, left out, cut short or stuck is not.
"""

from dataclasses import dataclass, field

import numpy as np

from tritone.llm.contract import Increment
from tritone.synthesis.flaws import Flaw
from tritone.synthesis.rules import Guard

# In text tokens, of which a word has one to four. The heads flicker by one or two of them, at the
# end of the text by one, and short ones are passed unseen.
AHEAD, BACK, BACK_AT_END = 3, 2, 1
FAR = 8  # that an end is away at least while the text is being written
LONG, UNSEEN = 8, 2  # in a text of so many the last ones may be passed so; in others the last one
# In speech tokens, at 25 a second.
CERTAIN = 3  # that stand elsewhere before it is believed
TRANSCRIPT = 5  # in a row that are said for the prompt's own text; of 260 sound generations none is
SILENT = 2  # on the last text token, after which speech has ended
LONGEST_END = 20  # on the last text token
LONGEST_STAY = 20  # on any other, pauses too; the teachers' longest is 21, one in 10,000 is 19


@dataclass(frozen=True)
class Verdict:
    """On some new tokens. tokens: those of them, and of the ones before, that may be spoken.
    flaw: what is wrong with the next ones. over: the text has been said; no more is wanted."""

    tokens: Increment
    flaw: Flaw | None = None
    over: bool = False


NOTHING = Increment(np.zeros(0, np.int32))


@dataclass
class TextGuard:
    """Follows one text of `length` text tokens that begins at `start` of the prompt.

    ids: of these tokens, where they are known: one that comes twice is the one that is due.
    lenient: a leap is noted alone, since nobody will try again. dropped: text tokens at the
    beginning that the present generation's prompt does not have, since they have been said. open:
    whether more of the text follows.
    """

    start: int
    length: int
    lenient: bool = False
    dropped: int = 0
    ids: tuple[int, ...] = ()
    open: bool = False
    place: int = 0  # text token that is being said
    furthest: int = 0
    _stay: int = 0  # tokens since the furthest place changed
    _held: list[Increment] = field(default_factory=list)  # those that stand elsewhere
    _away: int = 0  # of them, those that stand elsewhere in the text
    _read: int = 0  # tokens in a row that were said for the prompt's own text
    _passed: list[Flaw] = field(default_factory=list)
    _stuck: bool = False

    def admit(self, increment: Increment) -> Verdict:
        """Judge tokens one by one, as far as the first that is not to be spoken."""
        assert increment.said is not None
        passed: list[Increment] = []
        begin = 0  # of those that pass and are not in the list yet
        for index, said in enumerate(increment.said.tolist()):
            place = self._place_of(said)
            self._read = self._read + 1 if 0 < said < self.start else 0
            if self._near(place) and not self._read:
                passed += self._released()
                flaw, over = self._moved(place)
                kept = index + 1
            else:
                if begin < index:
                    passed.append(increment[begin:index])
                self._held.append(increment[index : index + 1])
                begin = kept = index + 1
                flaw, over = self._elsewhere(place, passed)
            if flaw:
                passed.append(increment[begin:kept])
                return Verdict(Increment.joined(passed), flaw, over)
        if begin == 0 and not passed:
            return Verdict(increment)
        return Verdict(Increment.joined([*passed, increment[begin:]]))

    def _released(self) -> list[Increment]:
        held, self._held, self._away = self._held, [], 0
        return held

    def ended(self) -> Verdict:
        """Judge speech that has ended by itself."""
        held = self._released()
        unseen = UNSEEN if self.length >= LONG else 1
        if self.left > unseen:
            return Verdict(NOTHING, Flaw("early_end", f"ended {self.left} text tokens early"))
        return Verdict(Increment.joined(held))

    def again(self, *, lenient: bool, dropped: int = 0) -> None:
        """Go on with another generation, after the last token that was passed or, where the prompt
        has lost the text up to `dropped`, with the rest of the text alone."""
        self._released()
        self._stay, self._read, self.lenient, self.dropped = 0, 0, lenient, dropped
        if dropped:
            self.place, self.furthest = dropped, max(dropped, self.furthest)

    def grow(self, length: int, ids: tuple[int, ...], *, more: bool) -> None:
        """The text has become longer, or ended. more: whether it goes on."""
        self.length, self.ids, self.open = length, ids, more

    @property
    def rest(self) -> int:
        """Text tokens before the first that has not been said; one that speech was stuck at has
        not been."""
        return self.furthest if self._stuck else self.furthest + 1

    @property
    def passed(self) -> tuple[Flaw, ...]:
        """What nobody would have tried again for."""
        return tuple(self._passed)

    @property
    def left(self) -> int:
        """Text tokens not said yet; of a text that is being written, some more."""
        return self.length - 1 - self.furthest + (FAR if self.open else 0)

    def _place_of(self, said: int) -> int:
        """Where in the text; where speech is, if the heads looked at nothing that is to be said."""
        place = said - self.start + self.dropped
        return self._due(place) if self.dropped <= place < self.length else self.place

    def _elsewhere(self, place: int, passed: list[Increment]) -> tuple[Flaw | None, bool]:
        """After one more token that was held: whether it is to be believed."""
        if self._read:
            return self._reads() if self._read >= TRANSCRIPT else (None, False)
        self._away += 1
        return self._leapt(place, passed) if self._away >= CERTAIN else (None, False)

    def _reads(self) -> tuple[Flaw | None, bool]:
        """Words that nobody asked for are not spoken, by a lenient guard neither."""
        flaw = Flaw("transcript", "speaks the transcript of the reference recording")
        if not self.lenient or self._said:
            return flaw, self._said
        self._released()
        if flaw not in self._passed:
            self._passed.append(flaw)
        return None, False

    def _due(self, place: int) -> int:
        """The place itself, or the one with the same token that comes next."""
        if not self.ids:
            return place
        ahead = range(self.place, min(self.place + AHEAD + 1, self.length))
        alike = (p for p in ahead if self.ids[p] == self.ids[place] and self._near(p))
        return next(alike, place)

    def _near(self, place: int) -> bool:
        """Whether it is where speech may be next. Once the end has been heard it is the end."""
        if self.left == 0 and self.place == self.furthest and self._stay >= SILENT:
            return place == self.place
        back = BACK if self.left > 1 else BACK_AT_END
        return -back <= place - self.place <= AHEAD

    @property
    def _said(self) -> bool:
        """Whether the text has been said, but for a last sound perhaps."""
        return self.left == 0 or (self.left == 1 and self._stay >= CERTAIN)

    def _moved(self, place: int) -> tuple[Flaw | None, bool]:
        self._stay = self._stay + 1 if place <= self.furthest else 0
        self._stuck = self._stay > LONGEST_STAY
        self.place, self.furthest = place, max(self.furthest, place)
        if self.left == 0:
            over = self._stay > LONGEST_END
            return (Flaw("no_end", "said, and no end after it") if over else None), over
        if self._stuck:
            return Flaw("stuck", f"stuck at text token {self.furthest} of {self.length}"), False
        return None, False

    def _leapt(self, place: int, passed: list[Increment]) -> tuple[Flaw | None, bool]:
        if place < self.place and self._said:
            return Flaw("repetition", "said once, and begun again"), True
        kind = "leapt" if place > self.place else "went back"
        flaw = Flaw("leap", f"{kind} from text token {self.place} to {place} of {self.length}")
        if not self.lenient:
            return flaw, False
        self._passed.append(flaw)
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
        """What stands behind a token that is no code is not looked at."""
        self._told |= increment.said is not None
        if stray := self.tokens.outside(increment):
            index, flaw = stray
            verdict = self._judged(increment[:index])
            return verdict if verdict.flaw else Verdict(verdict.tokens, flaw)
        return self._judged(increment)

    def _judged(self, increment: Increment) -> Verdict:
        verdict = self.text.admit(increment) if self.text else Verdict(increment)
        flaw = self.tokens.admit(verdict.tokens)
        return Verdict(NOTHING, flaw) if flaw else verdict

    def ended(self, target_tokens: int) -> Verdict:
        verdict = self.text.ended() if self.text else Verdict(NOTHING)
        flaw = self.tokens.admit(verdict.tokens) or self.tokens.ended(target_tokens)
        return Verdict(verdict.tokens, verdict.flaw or flaw)
