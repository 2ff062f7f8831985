"""What the family says of itself to the other rooms."""

import subprocess
import sys

import numpy as np
import pytest
from indextts2_acoustic import RELEASED_FLOW, RELEASED_VOCODER

from tritone.acoustic.presets import SolverChoice
from tritone.errors import EnvironmentProblem
from tritone.families.indextts2 import FAMILY
from tritone.families.indextts2.config import IndexTTS2Config
from tritone.families.indextts2.gpt_config import DrawingConfig, GptConfig
from tritone.families.indextts2.reference_config import ReferenceConfig
from tritone.llm.config import decoder_config
from tritone.llm.runtimes import runtime_of
from tritone.synthesis.rules import Hops

RELEASED = IndexTTS2Config(
    gpt=GptConfig(),
    drawing=DrawingConfig(beams=1),
    reference=ReferenceConfig(),
    emotions=(3, 17, 2, 8, 4, 5, 10, 24),
    flow=RELEASED_FLOW,
    vocoder=RELEASED_VOCODER,
)


def test_it_is_imported_without_torch() -> None:
    code = (
        "import sys; from tritone.families.indextts2 import FAMILY; "
        "from tritone.synthesis.rules import Hops; assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=280).returncode == 0


def test_the_numbers_of_the_release_agree() -> None:
    assert IndexTTS2Config.model_validate(RELEASED.model_dump()) == RELEASED
    rates = FAMILY.rules(RELEASED, Hops()).rates
    assert (rates.tokens, float(rates.frames), rates.sample_rate) == (50, 86.1328125, 22050)


@pytest.mark.parametrize(
    ("section", "number", "value", "problem"),
    [
        ("drawing", "beams", 3, "beams is 3; a beam search cannot be streamed: it must be 1"),
        ("flow", "codes", 8191, "flow.codes and gpt.codes are 8191 and 8192"),
        ("flow", "style", 512, "flow.style and reference.speaker.width are 512 and 192"),
        ("vocoder", "mel", 100, "vocoder.mel and flow.mel are 100 and 80"),
        ("gpt", "features", 768, "gpt.features and reference.w2v_bert.width are 768 and 1024"),
    ],
)
def test_numbers_that_do_not_agree_are_refused(
    section: str, number: str, value: int, problem: str
) -> None:
    content = RELEASED.model_dump()
    content[section][number] = value
    with pytest.raises(ValueError, match=problem):
        IndexTTS2Config.model_validate(content)


def test_another_sample_rate_is_refused() -> None:
    with pytest.raises(ValueError, match=r"sample_rate and .* are 24000 and 22050"):
        IndexTTS2Config.model_validate({**RELEASED.model_dump(), "sample_rate": 24000})


def test_its_language_model_runs_as_others_do_on_runtimes_of_ours() -> None:
    """With the same settings by the same names, but for kernels, of which there are none for it."""
    for profile in ("cpu", "gpu-torch"):
        usual = runtime_of(profile)
        known = usual.parameters()
        del known["kernels" if profile == "cpu" else "gpu_kernels"]
        assert FAMILY.runtime(usual).parameters() == known
    for profile in ("gpu", "gpu-llmapi"):
        wanted = rf"profile {profile}: .* use --profile cpu or gpu-torch"
        with pytest.raises(EnvironmentProblem, match=wanted):
            FAMILY.runtime(runtime_of(profile))
    with pytest.raises(EnvironmentProblem, match="runs its language model itself"):
        decoder_config(FAMILY.language_model(RELEASED))


def test_an_example_prompt_is_as_long_as_one_of_the_text() -> None:
    """32 vectors of the speaker, two of the speed, and the text between its start and stop."""
    prompt = FAMILY.example_prompt(RELEASED, np.arange(5, dtype=np.int32))
    assert prompt.embeddings is not None and prompt.embeddings.shape == (32 + 2 + 5 + 2, 1280)


def test_another_solver_may_be_asked_for() -> None:
    assert FAMILY.with_solver(RELEASED, SolverChoice(ode_steps=10)).flow.solver.n_timesteps == 10
    with pytest.raises(EnvironmentProblem, match="ode_steps is 101; it must be 0 to 100"):
        FAMILY.with_solver(RELEASED, SolverChoice(ode_steps=101))
