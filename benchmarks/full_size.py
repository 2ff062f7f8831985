"""A model directory with the shapes of the released CosyVoice2-0.5B and random weights.

Speed and memory do not depend on values, so it measures what the release would, without its five
gigabytes. What it says is noise; text and reference audio have no part in it.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from tritone.acoustic.solver_config import SolverConfig
from tritone.checkpoints.atomic_write import write_json
from tritone.checkpoints.safetensors_file import Part, TensorSpec, write_tensors
from tritone.config import CONFIG_NAME
from tritone.families.cosyvoice2.acoustics import FLOW_FILE, VOCODER_FILE
from tritone.families.cosyvoice2.config import (
    CosyVoice2Config,
    EstimatorConfig,
    FlowConfig,
    FlowEncoderConfig,
    SpeechIds,
    TextConfig,
    VocoderConfig,
)
from tritone.families.cosyvoice2.flow import FlowNetwork
from tritone.families.cosyvoice2.hift import HiFT
from tritone.llm.checkpoint import (
    EMBEDDING,
    FINAL_NORM,
    HEAD,
    HEAD_BIAS,
    LLM_DIR,
    WEIGHTS_NAME,
    layer_name,
    layer_shapes,
    write_qwen2,
)
from tritone.llm.config import LLMConfig, SamplingConfig

FLOW = FlowConfig(
    vocab_size=6561,
    input_size=512,
    spk_embed_dim=192,
    output_size=80,
    token_mel_ratio=2,
    pre_lookahead_len=3,
    chunk_size=25,
    encoder=FlowEncoderConfig(
        output_size=512, attention_heads=8, linear_units=2048, num_blocks=6, num_up_blocks=4
    ),
    estimator=EstimatorConfig(
        channels=256, attention_head_dim=64, num_heads=8, n_blocks=4, num_mid_blocks=12
    ),
    solver=SolverConfig(),
)
VOCODER = VocoderConfig(
    in_channels=80,
    base_channels=512,
    nb_harmonics=8,
    nsf_alpha=0.1,
    nsf_sigma=0.003,
    nsf_voiced_threshold=10,
    upsample_rates=(8, 5, 3),
    upsample_kernel_sizes=(16, 11, 7),
    istft_n_fft=16,
    istft_hop=4,
    resblock_kernel_sizes=(3, 7, 11),
    resblock_dilation_sizes=((1, 3, 5),) * 3,
    source_resblock_kernel_sizes=(7, 7, 11),
    source_resblock_dilation_sizes=((1, 3, 5),) * 3,
    lrelu_slope=0.1,
    audio_limit=0.99,
    f0_channels=512,
)
LLM = SpeechIds(
    vocab_size=158_336,
    speech_offset=151_663,
    speech_codes=6561,
    stop_ids=(158_224, 158_225, 158_226),
    sos_id=158_227,
    task_id=158_228,
    hidden_size=896,
    intermediate_size=4864,
    num_hidden_layers=24,
    num_attention_heads=14,
    num_key_value_heads=2,
    rope_theta=1e6,
    rms_norm_eps=1e-6,
    max_position_embeddings=32_768,
)
FULL_SIZE = CosyVoice2Config(
    sample_rate=24_000,
    text=TextConfig(),
    sampling=SamplingConfig(),
    llm=LLM,
    flow=FLOW,
    vocoder=VOCODER,
)
_STD = 0.02  # of every weight of the language model, as such models are initialised
_NEVER = -100.0  # a stop id is a speech row, but random weights should not end a stream


def write_model(folder: Path, config: CosyVoice2Config = FULL_SIZE, seed: int = 0) -> None:
    """Write config.json, the merged language model in bfloat16, flow and vocoder.

    About 1.9 GB and half a minute for the full size; only one tensor at a time is in memory.
    """
    (folder / LLM_DIR).mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    write_qwen2(folder / LLM_DIR, config.llm, "bfloat16")
    specs = [TensorSpec(name, "BF16", shape) for name, shape in llm_shapes(config.llm)]
    parts = (_draw(spec, config.llm, generator) for spec in tqdm(specs, "language model"))
    write_tensors(folder / LLM_DIR / WEIGHTS_NAME, specs, _as_bits(parts))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        save_file(FlowNetwork(config.flow).state_dict(), folder / FLOW_FILE)
        save_file(HiFT(config.vocoder).state_dict(), folder / VOCODER_FILE)
    # last: a directory that has it is complete
    write_json(folder / CONFIG_NAME, config.to_content())


def llm_shapes(config: LLMConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every tensor of a merged language model."""
    table = (config.vocab_size, config.hidden_size)
    layer = layer_shapes(
        config.hidden_size,
        config.intermediate_size,
        config.num_attention_heads,
        config.num_key_value_heads,
    )
    yield EMBEDDING, table
    for index in range(config.num_hidden_layers):
        yield from ((layer_name(index, part), shape) for part, shape in layer.items())
    yield FINAL_NORM, (config.hidden_size,)
    yield HEAD, table
    yield HEAD_BIAS, (config.vocab_size,)


def _draw(spec: TensorSpec, config: LLMConfig, generator: torch.Generator) -> Tensor:
    if spec.name == HEAD_BIAS:
        bias = torch.full(spec.shape, -torch.inf)
        first_stop = config.speech_offset + config.speech_codes
        bias[config.speech_offset : first_stop] = 0
        bias[first_stop : first_stop + len(config.stop_ids)] = _NEVER
        return bias
    if "norm" in spec.name:
        return torch.ones(spec.shape)
    return torch.randn(spec.shape, generator=generator) * _STD


def _as_bits(tensors: Iterable[Tensor]) -> Iterator[list[Part]]:
    for tensor in tensors:
        yield [tensor.bfloat16().view(torch.int16).numpy()]
