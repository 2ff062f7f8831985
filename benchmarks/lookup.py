"""Would a language model gain from drafts looked up in what was spoken (prompt lookup decoding)?

    python -m benchmarks.lookup [--model MODEL_DIR] [--texts 40]

Nothing is decoded by drafts. Tokens are drawn by numbers of their own, so a step that checks drafts
accepts those that equal the next tokens, and gives one more; what speech has been generated says
how many those would have been.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from evaluation.sentences import sentences
from tritone import resources
from tritone.families import open_model
from tritone.families.contract import Model
from tritone.frontend.text.settings import DEFAULT_TEXT
from tritone.llm.contract import GenerationRequest, Increment, SamplingParams
from tritone.llm.slots.opening import open_onnx
from tritone.synthesis.limits import DEFAULT_LIMITS
from tritone.synthesis.rules import Hops
from tritone.synthesis.values import SynthesisRequest

SAMPLINGS = {"greedy": SamplingParams(top_k=1), "drawn": SamplingParams(seed=1, top_k=25)}
LOOKUPS = [(1, 4), (2, 4), (3, 4)]  # tokens that are looked up, tokens of a draft


@dataclass(frozen=True)
class Spoken:
    """Ids of a prompt, and those that followed it."""

    prompt: list[int]
    tokens: list[int]


def draft(before: Sequence[int], key: int, length: int) -> Sequence[int]:
    """What followed the last `key` ids where they stood last; nothing if they never did."""
    end = len(before)
    wanted = before[end - key :]
    for start in range(end - key - 1, -1, -1):
        if before[start : start + key] == wanted:
            return before[start + key : start + key + length]
    return ()


def steps(spoken: Spoken, key: int, length: int) -> Counter[str]:
    """Of a speech: steps, tokens, and drafted and accepted tokens."""
    whole, done = [*spoken.prompt, *spoken.tokens], len(spoken.prompt)
    found = Counter(tokens=len(spoken.tokens))
    while done < len(whole):
        drafted = draft(whole[:done], key, length)
        right = 0
        while right < len(drafted) and whole[done : done + right + 1][right:] == [drafted[right]]:
            right += 1
        found.update(steps=1, drafted=len(drafted), accepted=right)
        done += right + 1
    return found


def speak(model: Model, sampling: SamplingParams, count: int) -> list[Spoken]:
    """Sentences as the language model speaks them."""
    frontend = model.family.load_frontend(model.folder, model.config, DEFAULT_LIMITS, DEFAULT_TEXT)
    llm, rules = open_onnx(model.folder, model.config), model.family.rules(model.config, Hops())
    found = []
    try:
        for sentence in tqdm(sentences("harvard")[:count], "speaking"):
            for segment in frontend.prepare(SynthesisRequest(text=sentence.text)):
                request = GenerationRequest(
                    segment.prompt, *rules.token_bounds(segment.target_tokens), sampling
                )
                said = Increment.joined(list(llm.submit(request))).ids
                assert segment.prompt.ids is not None
                found.append(Spoken(segment.prompt.ids.tolist(), said.tolist()))
        return found
    finally:
        llm.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--texts", type=int, default=40)
    asked = parser.parse_args()
    model = open_model(asked.model or resources.embedded_voice())
    print("sampling  key  draft  drafted a step  accepted  tokens a step")
    for name, sampling in SAMPLINGS.items():
        speech = speak(model, sampling, asked.texts)
        count = sum(len(each.tokens) for each in speech)
        print(f"{name}: {count} tokens, {len({t for s in speech for t in s.tokens})} different")
        for key, length in LOOKUPS:
            sums = sum((steps(each, key, length) for each in speech), Counter[str]())
            drafted, gain = (sums[of] / sums["steps"] for of in ("drafted", "tokens"))
            share = sums["accepted"] / max(1, sums["drafted"])
            print(f"{name:8}  {key:3}  {length:5}  {drafted:14.2f}  {share:8.1%}  {gain:13.3f}")


if __name__ == "__main__":
    main()
