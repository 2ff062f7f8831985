"""The runtimes of the language model by name: how each is opened and what can be set.

A runtime is imported when it is opened, so that nobody needs the packages of another.
"""

import importlib
import inspect
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tritone.errors import EnvironmentProblem
from tritone.llm.config import LanguageModelConfig, SpokenConfig
from tritone.llm.contract import GenerationRequest, LanguageModel, OpenedLanguageModel, Prompt
from tritone.loading.steps import step

# of (model directory, configuration, engine): raises TritoneError for an engine not to be used
EngineCheck = Callable[[Path, SpokenConfig, Path], None]


@dataclass(frozen=True)
class Runtime:
    """module, function: (model_dir, config, *, parameters) -> OpenedLanguageModel.

    profile: of the server that serves it. instead: the profile for machines without its packages.
    on_engine: it runs an engine that was built, so that an EngineCheck follows config. extends:
    whether it can add to the prompt of a running generation.
    """

    module: str
    function: str
    profile: str
    instead: str
    on_engine: bool = False
    extends: bool = False

    def opener(self) -> Callable[..., OpenedLanguageModel]:
        """Raises EnvironmentProblem naming a package that is not installed."""
        try:
            if self.module not in sys.modules:
                with step("LLM imports"):
                    importlib.import_module(self.module)
        except ModuleNotFoundError as error:
            raise EnvironmentProblem(
                f"the profile {self.profile} needs the package {error.name}, which is not "
                f"installed; install it, or use the profile {self.instead}"
            ) from error
        opener: Callable[..., OpenedLanguageModel] = getattr(
            sys.modules[self.module], self.function
        )
        return opener

    def parameters(self) -> dict[str, Any]:
        """Every parameter of the runtime and its default."""
        known = inspect.signature(self.opener()).parameters.values()
        return {p.name: p.default for p in known if p.kind is p.KEYWORD_ONLY}

    def in_place_of(
        self, usual: "Runtime", values: Mapping[str, Any], chosen: Collection[str] = ()
    ) -> dict[str, Any]:
        """Those of the values, which were meant for `usual`, that it has a parameter for.

        Raises EnvironmentProblem for another that says more than `usual` has by itself, or is
        among those that somebody chose: a setting must not be ignored.
        """
        own = self.parameters()
        if strays := values.keys() - own.keys():
            known = usual.parameters()
            for name in sorted(strays):
                if name in chosen or values[name] != known.get(name):
                    raise EnvironmentProblem(
                        f"setting {name} of the language model is {values[name]!r}: this family "
                        f"runs its language model itself, which has {', '.join(own)} to set"
                    )
        return {name: value for name, value in values.items() if name in own}

    def open(
        self,
        model_dir: Path,
        config: LanguageModelConfig,
        *,
        check_engine: EngineCheck | None = None,
        **values: Any,
    ) -> OpenedLanguageModel:
        """See the opener for values and errors. check_engine: asked by a runtime that runs an
        engine, before it loads one that it found."""
        check = (check_engine,) if self.on_engine else ()
        return self.opener()(model_dir, config, *check, **values)


RUNTIMES = {
    "onnx": Runtime(
        "tritone.llm.slots.opening", "open_onnx", profile="cpu", instead="gpu-torch", extends=True
    ),
    "torch": Runtime(
        "tritone.llm.torch.opening", "open_torch", profile="gpu-torch", instead="cpu", extends=True
    ),
    "executor": Runtime(
        "tritone.llm.trtllm.executor",
        "open_executor",
        profile="gpu",
        instead="gpu-torch",
        on_engine=True,
    ),
    "llm_api": Runtime(
        "tritone.llm.trtllm.llm_api", "open_llm_api", profile="gpu-llmapi", instead="gpu-torch"
    ),
}


def runtime_of(profile: str) -> Runtime:
    """The runtime that serves a profile; raises EnvironmentProblem where none of ours does."""
    served = {runtime.profile: runtime for runtime in RUNTIMES.values()}
    if profile not in served:
        raise EnvironmentProblem(f"profile is {profile!r}; take one of {', '.join(served)}")
    return served[profile]


def runtime_named(name: str | None) -> Runtime:
    """Raises EnvironmentProblem for a name that is not in RUNTIMES."""
    if name not in RUNTIMES:
        raise EnvironmentProblem(f"runtime is {name!r}; take one of {', '.join(RUNTIMES)}")
    return RUNTIMES[name]


def needs_bias(profile: str) -> bool:
    """Whether requests have to bring the head's bias: where none of our runtimes serves."""
    return all(runtime.profile != profile for runtime in RUNTIMES.values())


def can_extend(profile: str | None) -> bool:
    """Whether the runtime that serves a profile adds to prompts; None: any runtime may serve."""
    return any(runtime.extends for runtime in RUNTIMES.values() if runtime.profile == profile)


def warm_up(model: LanguageModel, prompt: Prompt) -> None:
    """Speak a few tokens: a runtime's first calls are several times slower.

    prompt: as the front end would send it.
    """
    request = GenerationRequest(prompt, min_tokens=4, max_tokens=4)
    with step("LLM warm-up"):
        for _ in model.submit(request):
            pass
