"""The training loop that every stage shares: schedule, bf16, averaged weights, resuming, log."""

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from training.config import LoopConfig
from tritone.checkpoints.atomic_write import written_whole

START = "start.pt"  # in a stage's folder: weights to begin with
LossFunction = Callable[[int], Mapping[str, Tensor]]  # step -> named losses, "loss" the sum


class Averaged:
    """Exponential moving average of a module's parameters, in float32."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values = {k: v.detach().float().clone() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        for key, value in module.state_dict().items():
            self.values[key].lerp_(value.float(), 1 - decay)


def learning_rate(step: int, config: LoopConfig) -> float:
    """Linear warm-up, then half a cosine down to a twentieth."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.learning_rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _optimizer(module: nn.Module, config: LoopConfig) -> torch.optim.AdamW:
    """AdamW; vectors (norms, biases) do not decay."""
    trained = [p for p in module.parameters() if p.requires_grad]
    matrices = [p for p in trained if p.ndim > 1]
    vectors = [p for p in trained if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)


class Training:
    """One stage's run in its folder: state.pt to resume from, log.jsonl to plot, done when done."""

    def __init__(self, folder: Path, module: nn.Module, config: LoopConfig) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.module, self.config = folder, module.to(device()), config
        self.optimizer = _optimizer(module, config)
        self.average = Averaged(module, config.ema)
        self.step = 0
        self._restore()

    @property
    def _state_path(self) -> Path:
        return self.folder / "state.pt"

    def _restore(self) -> None:
        if not self._state_path.is_file():
            self._begin()
            return
        state = torch.load(self._state_path, weights_only=True, map_location=device())
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.values = state["average"]
        self.step = state["step"]

    def _begin(self) -> None:
        """Take the weights that the stage 'start' left, where it left any."""
        path = self.folder / START
        if path.is_file():
            self.module.load_state_dict(torch.load(path, weights_only=True, map_location=device()))
            self.average = Averaged(self.module, self.config.ema)

    def _save(self) -> None:
        state = {
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.values,
            "averaged": bool(self.config.ema),
            "step": self.step,
        }
        with written_whole(self._state_path) as partial:
            torch.save(state, partial)

    def run(self, losses: LossFunction, validate: Callable[[], Mapping[str, float]]) -> None:
        """Train up to config.steps; the same seeds give the same batches after a resume."""
        config = self.config
        sums: dict[str, float] = {}
        began, since = time.monotonic(), self.step
        with tqdm(total=config.steps, initial=self.step, desc=self.folder.name) as bar:
            while self.step < config.steps:
                for name, value in self._update(losses).items():
                    sums[name] = sums.get(name, 0.0) + value
                self.step += 1
                bar.update()
                if self.step % config.log_every == 0:
                    done = self.step - since
                    means = {name: value / done for name, value in sums.items()}
                    self._log({**means, "steps_a_second": done / (time.monotonic() - began)})
                    bar.set_postfix({k: f"{v:.3f}" for k, v in means.items()})
                    sums, began, since = {}, time.monotonic(), self.step
                if self.step % config.save_every == 0 or self.step == config.steps:
                    self._save()
                    paused = time.monotonic()
                    with self._as_exported():
                        self._log({f"val_{k}": v for k, v in validate().items()})
                    began += time.monotonic() - paused

    @contextmanager
    def _as_exported(self) -> Iterator[None]:
        """The module with the weights that the stage hands on."""
        if not self.config.ema:
            yield
            return
        kept = {key: value.clone() for key, value in self.module.state_dict().items()}
        self.module.load_state_dict(self.average.values)
        try:
            yield
        finally:
            self.module.load_state_dict(kept)

    def _update(self, losses: LossFunction) -> dict[str, float]:
        config = self.config
        torch.manual_seed(config.seed * 1_000_003 + self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, config)
        self.module.train()
        named = losses(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(named["loss"])
        norm = nn.utils.clip_grad_norm_(self.module.parameters(), config.clip)
        if torch.isfinite(norm):
            self.optimizer.step()
        if config.ema:
            self.average.update(self.module, self.step)
        return {name: float(value.detach()) for name, value in named.items()} | {
            "gradient": float(norm)
        }

    def _log(self, values: Mapping[str, float]) -> None:
        line = {
            "step": self.step,
            "time": time.time(),
            **{k: round(v, 5) for k, v in values.items()},
        }
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")


def trained_state(folder: Path, part: str = "") -> dict[str, Tensor]:
    """The weights that a stage hands on: averaged ones where the stage averages.

    part: prefix of the keys that are wanted; it is cut off.
    """
    path = folder / "state.pt"
    if not path.is_file():
        raise SystemExit(f"{path} does not exist: run the stage that writes it first")
    state = torch.load(path, weights_only=True, map_location="cpu")
    values: dict[str, Tensor] = state["average"] if state["averaged"] else state["module"]
    return {key[len(part) :]: value for key, value in values.items() if key.startswith(part)}


def save_frozen(folder: Path, weights: Mapping[str, Tensor]) -> None:
    """Leave weights as a stage does that has nothing left to train."""
    folder.mkdir(parents=True, exist_ok=True)
    with written_whole(folder / "state.pt") as partial:
        torch.save({"module": dict(weights), "averaged": False}, partial)


def autocast() -> torch.autocast:
    """bfloat16 for matrix products and convolutions."""
    return torch.autocast(device().type, dtype=torch.bfloat16)


def in_float32(layer: nn.Module) -> None:
    """Make a layer compute in float32 whatever is around it."""
    forward = layer.forward

    def precise(x: Tensor) -> Tensor:
        with torch.autocast(device().type, enabled=False):
            return forward(x.float())  # type: ignore[no-any-return]

    layer.forward = precise
