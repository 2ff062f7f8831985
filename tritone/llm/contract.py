"""What a runtime of the language model takes and gives: the one seam to the pipeline."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from tritone.arrays import Float32, Int32


@dataclass(frozen=True)
class Prompt:
    """What a generation continues from: either ids or embeddings, the other is None.

    ids: (n,) LLM ids. embeddings: (n, hidden) rows as the model's own table would give them, for
    families that mix text with vectors that have no id.
    """

    ids: Int32 | None = None
    embeddings: Float32 | None = None

    def __post_init__(self) -> None:
        assert (self.ids is None) != (self.embeddings is None), "either ids or embeddings"

    def __len__(self) -> int:
        given = self.embeddings if self.ids is None else self.ids
        assert given is not None
        return len(given)

    def divided(self, at: int) -> "tuple[Prompt, Prompt]":
        """Its first `at` positions, and the rest."""
        if self.ids is not None:
            return Prompt(self.ids[:at]), Prompt(self.ids[at:])
        assert self.embeddings is not None
        rows = self.embeddings
        return Prompt(embeddings=rows[:at]), Prompt(embeddings=rows[at:])

    def without(self, begin: int, end: int) -> "Prompt":
        """The prompt without its positions from `begin` up to `end`."""
        gap = slice(begin, end)
        if self.ids is not None:
            return Prompt(np.delete(self.ids, gap))
        assert self.embeddings is not None
        return Prompt(embeddings=np.delete(self.embeddings, gap, axis=0))


@dataclass(frozen=True)
class SamplingParams:
    """How the next speech token is drawn: None is the checkpoint's default, top_k 1 greedy."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Turns:
    """How a model takes text and speech in turns while the text is being written.

    text, speech: ids of each in a turn. fill_id: what the model gives where it wants more text.
    closing_id: stands between the last text and the rest of the speech.
    """

    text: int
    speech: int
    fill_id: int
    closing_id: int


@dataclass(frozen=True)
class Rereads:
    """How a model that tells what it says reads a growing text anew, before its speech.

    text: ids more each time. ahead: ids that the text is to be ahead of what is said. closing_id:
    stands between text and speech.
    """

    text: int
    ahead: int
    closing_id: int


@dataclass(frozen=True)
class OpenText:
    """The text of a generation while it is being written; it follows the prompt.

    way: how the model reads it. ids: (n,) LLM ids of the text so far. speech: (m,) LLM ids that
    were said for the first of it, such as a reference recording's. ended: whether that is all of
    the text.
    """

    way: Turns | Rereads
    ids: Int32
    speech: Int32
    ended: bool


@dataclass(frozen=True)
class GenerationRequest:
    """One LLM generation; it ends after max_tokens.

    min_tokens: the stop id that ends speech normally is banned before this many tokens, and all
    stop ids where the checkpoint's numbers say so. open_text: goes on where the prompt, which is of
    ids then, ends; None where the prompt has the whole text.
    """

    prompt: Prompt
    min_tokens: int
    max_tokens: int
    sampling: SamplingParams = field(default_factory=SamplingParams)
    open_text: OpenText | None = None


@dataclass(frozen=True)
class MoreText:
    """What has come of an open text. ids: (n,) LLM ids of it alone, (0,) where it has only ended.
    min_tokens, max_tokens: of the whole generation, in the place of those before."""

    ids: Int32
    ended: bool
    min_tokens: int
    max_tokens: int


@dataclass(frozen=True)
class Increment:
    """New tokens of a generation.

    ids: (n,) LLM ids, as on the wire of `tensorrt_llm`. latents: (n, width) of the same positions,
    from models whose flow wants the language model's own states beside the ids. said: (n,) position
    in the prompt of the text token that each was said for, from models whose heads tell.
    """

    ids: Int32
    latents: Float32 | None = None
    said: Int32 | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, part: slice) -> "Increment":
        latents = None if self.latents is None else self.latents[part]
        said = None if self.said is None else self.said[part]
        return Increment(self.ids[part], latents, said)

    @classmethod
    def joined(cls, parts: "Sequence[Increment]") -> "Increment":
        """Neighbouring increments as one."""
        ids = np.concatenate([np.zeros(0, np.int32), *(part.ids for part in parts)])
        latents = [part.latents for part in parts if part.latents is not None]
        said = [part.said for part in parts if part.said is not None]
        return cls(
            ids,
            np.concatenate(latents) if latents else None,
            np.concatenate(said) if said else None,
        )


class Generation(Protocol):
    """A running LLM generation.

    Iteration yields increments of one or more LLM ids as they come, no stop ids, and raises
    StageFailed if the generation broke or Cancelled after `cancel`, which may come at any time.
    Where a text is open there are empty ones too, so that nobody waits for text without a look at
    who waits for speech.
    """

    def __iter__(self) -> Iterator[Increment]: ...

    def cancel(self) -> None: ...

    def extend(self, more: MoreText) -> None:
        """Add to an open text, from any thread; no effect on one that has ended."""
        ...


class LanguageModel(Protocol):
    def submit(self, request: GenerationRequest) -> Generation:
        """Queue a generation and return at once.

        Raises InvalidRequest for an open text where the runtime cannot add to a prompt.
        """
        ...

    def close(self) -> None: ...


class OpenedLanguageModel(LanguageModel, Protocol):
    """One of this process. slots: generations that advance together."""

    @property
    def slots(self) -> int: ...
