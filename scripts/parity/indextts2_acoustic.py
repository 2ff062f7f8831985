"""Our length regulator, estimator, solver, vocoder and emotions of IndexTTS2 against a golden
folder that upstream's classes made. All sizes are those of the folder."""

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from parity import ParityResult, close, equal
from parity.golden import Golden
from tritone.acoustic.solver_config import SolverConfig
from tritone.acoustic.weights import load_strictly
from tritone.families.indextts2.acoustic_config import (
    EstimatorConfig,
    FlowConfig,
    RegulatorConfig,
)
from tritone.families.indextts2.emotion import EmotionTable, normalized, scaled
from tritone.families.indextts2.estimator import Estimator
from tritone.families.indextts2.pace import frames_of
from tritone.families.indextts2.regulator import CodeFeatures, LengthRegulator
from tritone.families.indextts2.released_s2mel import (
    CODEBOOK,
    PARTS,
    estimator_weights,
    regulator_weights,
)
from tritone.families.indextts2.rows import Rows
from tritone.families.indextts2.window_solver import Window, WindowSolver

THRESHOLD = 2e-5  # for each unit of the largest expected value, at least one


def compared(case: str, ours: Tensor, golden: Tensor) -> ParityResult:
    scale = max(1.0, float(golden.abs().max()))
    return close(case, ours, golden, THRESHOLD * scale)


def released(case: Golden, prefix: str = "") -> dict[str, Tensor]:
    """The weights of a case, or of a part of it."""
    start = f"w.{prefix}"
    return {k.removeprefix(start): v for k, v in case.tensors.items() if k.startswith(start)}


def without(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items()}


def load_regulator(case: Golden) -> LengthRegulator:
    numbers = case.about["config"]
    config = RegulatorConfig(
        in_channels=numbers["in_channels"], channels=numbers["channels"], layers=numbers["n"]
    )
    own = {k: v for k, v in released(case).items() if not k.startswith("gpt_layer.")}
    network = LengthRegulator(config).eval()
    load_strictly(network, regulator_weights(own), "length_regulator")
    return network


def load_features(case: Golden) -> CodeFeatures:
    """With a codebook of one code, which stands for nothing: the case has none."""
    layers = released(case, "gpt_layer.")
    shapes = [value.shape for key, value in layers.items() if key.endswith("weight")]
    width = shapes[-1][0]
    config = FlowConfig(
        codes=1,
        latent_width=shapes[0][1],
        latent_hidden=tuple(shape[0] for shape in shapes[:-1]),
        style=1,
        mel=1,
        regulator=RegulatorConfig(in_channels=width, channels=1, layers=1),
        estimator=_NO_ESTIMATOR,
    )
    network, prefix = CodeFeatures(config).eval(), PARTS["gpt_layer"].removeprefix("features.")
    state = {prefix + key: value for key, value in layers.items()}
    codebook = CODEBOOK.removeprefix("features.")
    load_strictly(network, {**state, codebook: torch.zeros(1, width)}, "gpt_layer")
    return network


_NO_ESTIMATOR = EstimatorConfig(
    width=2,
    heads=1,
    depth=1,
    feed_forward=1,
    wavenet_layers=1,
    wavenet_kernel=1,
    wavenet_dilation=1,
)


def flow_config(case: Golden) -> FlowConfig:
    """The numbers of a case of the estimator; those of what comes before it are the least."""
    numbers, weights = case.about["config"], released(case)
    expand = weights["estimator.transformer.layers.0.feed_forward.w1.weight"]
    return FlowConfig(
        codes=1,
        latent_width=1,
        latent_hidden=(),
        style=numbers["style"],
        mel=numbers["inch"],
        regulator=RegulatorConfig(in_channels=1, channels=numbers["content"], layers=1),
        estimator=EstimatorConfig(
            width=numbers["hidden"],
            heads=numbers["heads"],
            depth=numbers["depth"],
            feed_forward=len(expand),
            wavenet_layers=numbers["wl"],
            wavenet_kernel=numbers["k"],
            wavenet_dilation=numbers["dr"],
        ),
    )


def load_estimator(case: Golden) -> Estimator:
    network = Estimator(flow_config(case)).eval()
    state = estimator_weights(released(case))
    load_strictly(network, without(state, "estimator."), "dit_cfm")
    return network


def _length_regulator(case: Golden) -> Iterator[ParityResult]:
    regulator = load_regulator(case)
    for index in range(len(case.about["config"]["lens"])):
        golden = case[f"y{index}"]
        ours = regulator(case[f"x{index}"], golden.shape[1])
        yield compared(f"{case.name} {index}", ours, golden)
    golden, real = case["yb"], case["xb_ylens"]
    mask = torch.arange(golden.shape[1]) < real[:, None]
    ours = regulator(case["xb"], int(real.max())) * mask[..., None]
    yield compared(f"{case.name} batch", ours, golden)
    ours = load_features(case).latent(case["gpt_latent"])
    yield compared(f"{case.name} latents", ours, case["gpt_layer_out"])
    (name,) = (key for key in case.tensors if key.startswith("target_length_for_n_codes_1_to_"))
    lengths = case[name].tolist()
    counted = [frames_of(count) for count in range(1, len(lengths) + 1)]
    yield equal(f"{case.name} target lengths", counted, lengths)
    for key in sorted(key for key in case.tensors if key.startswith("nearest_idx_")):
        yield equal(f"{case.name} {key}", _sources(key), case[key].tolist())


def _sources(key: str) -> list[int]:
    """Which features a regulator repeats, by the numbers in a tensor's name."""
    count, frames = (int(number) for number in key.removeprefix("nearest_idx_").split("_to_"))
    line = torch.arange(count, dtype=torch.float32)[None, None]
    places = torch.nn.functional.interpolate(line, size=frames, mode="nearest")
    return [int(place) for place in places.flatten()]


def _estimator(case: Golden) -> Iterator[ParityResult]:
    """Row by row: the golden batch has another time in each."""
    network, golden = load_estimator(case), case["out"]
    found: dict[str, list[Tensor]] = {}
    real = case["x_lens_masked"].tolist()
    for index, t in enumerate(case["t"].tolist()):
        x, prompt = case["x"][index].T, case["prompt_x"][index].T
        style = case["style"][index].expand(len(x), -1)
        given = network.conditions(prompt, case["cond"][index], style)
        changes, rows = network.time_changes(t), Rows([len(x)])
        steps = {"t1": network.time(t), "merge_out": network.input(x) + given}
        first = network.blocks[0]
        turn = network._turn(rows)
        steps["block0_out"] = first(steps["merge_out"], changes.blocks[0], turn, rows)
        y = steps["transformer_out"] = network.transform(steps["merge_out"], changes, rows)
        hidden = network.head(network.skip(torch.cat([y, x], dim=1)))
        steps["wavenet_out"] = network.wavenet(hidden, changes.gates, rows).T
        steps["out"] = network(x, given, changes, rows).T
        masked = Rows([len(x)], [real[index]])
        steps["out_masked"] = network(x, given, changes, masked).T
        for name, value in steps.items():
            found.setdefault(name, []).append(value)
    for name in ("t1", "merge_out", "block0_out", "transformer_out", "wavenet_out"):
        yield compared(f"{case.name} {name}", torch.stack(found[name]), case[f"mid_{name}"])
    yield compared(f"{case.name} estimator", torch.stack(found["out"]), golden)
    ours = torch.stack(found["out_masked"])
    yield compared(f"{case.name} estimator, filled", ours, case["out_masked"])


def _solver(case: Golden) -> Iterator[ParityResult]:
    """Each golden solution says in its name how many steps it took and how they were guided."""
    network, prompt = load_estimator(case), case["cfm_prompt"][0].T
    noise = case["cfm_z"][0, :, len(prompt) :].T
    window = Window(prompt, case["cfm_mu"][0], case["cfm_style"][0], noise)
    for key in sorted(key for key in case.tensors if key.startswith("cfm_out_")):
        steps, rate = key.removeprefix("cfm_out_steps").split("_cfg")
        config = SolverConfig(n_timesteps=int(steps), inference_cfg_rate=float(rate))
        (ours,) = WindowSolver(network, config).solve([window])
        yield compared(f"{case.name} {key}", ours.T, case[key][0, :, len(prompt) :])


def _emotion_vector(case: Golden) -> Iterator[ParityResult]:
    style, own = case["style"][0].numpy(), case["emovec_in"][0].numpy()
    table = EmotionTable(
        case["spk_matrix"].numpy(), case["emo_matrix"].numpy(), case.about["emo_num"]
    )
    for about in case.about["cases"]:
        name, weights = f"{case.name} {about['name']}", about["emo_vector"]
        share = scaled(weights, about["emo_alpha"])
        yield close(f"{name} weights", share, about["scaled_vector"], 1e-9)
        yield equal(f"{name} rows", table.rows(style), about["rows"])
        ours = torch.from_numpy(table.mixed(share, style, own))
        yield compared(name, ours, case[f"{about['name']}_out"][0])
        evened = about["webui_normalised_with_bias"]
        yield close(f"{name} evened", normalized(weights), evened, 1e-9)
        plain = about["normalised_no_bias"]
        yield close(f"{name} normalized", normalized(weights, evened=False), plain, 1e-9)


CASES: dict[str, Callable[[Golden], Iterator[ParityResult]]] = {
    "length_regulator": _length_regulator,
    "dit_cfm": lambda case: chain(_estimator(case), _solver(case)),
    "emotion_vector": _emotion_vector,
}


def cases(folder: Path) -> Iterator[ParityResult]:
    """Compare all of its cases that a folder holds."""
    with torch.inference_mode():
        for name, compare in CASES.items():
            if (folder / f"{name}.safetensors").is_file():
                yield from compare(Golden(folder, name))
