"""`config.json` of a model directory: the family and every number of the checkpoint.

An unknown key, a missing key or a value of the wrong type is an error that names the key. Numbers
of a deployment (limits, ports, cache sizes) do not belong here.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tritone.errors import EnvironmentProblem, ModelDirectoryError
from tritone.loading.steps import step

CONFIG_NAME = "config.json"


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class SamplingConfig(Strict):
    """Defaults of the repetition-aware sampling (CosyVoice2, `ras_sampling`)."""

    top_k: int = 25
    top_p: float = 0.8
    temperature: float = 1.0
    repetition_window: int = 10
    repetition_threshold: float = 0.1  # tau_r: a draw seen window * tau_r times is drawn again
    min_tokens_per_text_token: float = 2.0
    max_tokens_per_text_token: float = 20.0


class LLMConfig(Strict):
    """Merged Qwen2 with speech ids appended to the text vocabulary.

    Ids: text 0..speech_offset-1, speech code k at speech_offset + k (k < speech_codes), then the
    stop ids, then sos and task_id; rows up to vocab_size are padding.
    """

    vocab_size: int
    speech_offset: int
    speech_codes: int
    stop_ids: tuple[int, ...]  # the first one is the regular end of speech
    sos_id: int
    task_id: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    rope_theta: float
    rms_norm_eps: float
    max_position_embeddings: int

    @property
    def speech_head_size(self) -> int:
        """Rows of the speech head: codes and stop ids (6564 for the released checkpoint)."""
        return self.speech_codes + len(self.stop_ids)


class TextConfig(Strict):
    """How text becomes token ids. pronunciation "hibari" maps English words to phoneme tokens."""

    pronunciation: Literal["none", "hibari"] = "none"
    instruct_end: str = ""  # token that closes an instruction, e.g. <|endofprompt|>


class FlowEncoderConfig(Strict):
    output_size: int
    attention_heads: int
    linear_units: int
    num_blocks: int
    num_up_blocks: int


class EstimatorConfig(Strict):
    channels: int
    attention_head_dim: int
    num_heads: int
    n_blocks: int
    num_mid_blocks: int


class SolverConfig(Strict):
    """guided_steps: how many of the first ODE steps are guided, None for all."""

    n_timesteps: int = Field(default=10, ge=1)
    guided_steps: int | None = Field(default=None, ge=0)
    inference_cfg_rate: float = 0.7
    start_noise_scale: float = 1.0


class FlowConfig(Strict):
    vocab_size: int
    input_size: int
    spk_embed_dim: int
    output_size: int
    token_mel_ratio: int
    pre_lookahead_len: int
    chunk_size: int  # tokens in one attention chunk
    encoder: FlowEncoderConfig
    estimator: EstimatorConfig
    solver: SolverConfig


class VocoderConfig(Strict):
    in_channels: int
    base_channels: int
    nb_harmonics: int
    nsf_alpha: float
    nsf_sigma: float
    nsf_voiced_threshold: float
    upsample_rates: tuple[int, ...]
    upsample_kernel_sizes: tuple[int, ...]
    istft_n_fft: int
    istft_hop: int
    resblock_kernel_sizes: tuple[int, ...]
    resblock_dilation_sizes: tuple[tuple[int, ...], ...]
    source_resblock_kernel_sizes: tuple[int, ...]
    source_resblock_dilation_sizes: tuple[tuple[int, ...], ...]
    lrelu_slope: float
    audio_limit: float
    f0_channels: int

    @property
    def samples_per_frame(self) -> int:
        product = self.istft_hop
        for rate in self.upsample_rates:
            product *= rate
        return product


class ModelConfig(Strict):
    """The whole of `config.json`. A part that the checkpoint lacks is None."""

    format: Literal[1] = 1
    family: str
    sample_rate: int
    default_voice: str | None = None
    text: TextConfig
    sampling: SamplingConfig
    llm: LLMConfig
    flow: FlowConfig
    vocoder: VocoderConfig


def with_cheaper_solver(config: ModelConfig, ode_steps: int, guided_steps: int) -> ModelConfig:
    """The configuration with fewer ODE steps, or guidance in fewer of them; 0 keeps what it has.

    Raises EnvironmentProblem for a count that cannot be.
    """
    solver = config.flow.solver
    most = ode_steps or solver.n_timesteps
    for name, count, limit in (("ode_steps", ode_steps, 100), ("guided_steps", guided_steps, most)):
        if not 0 <= count <= limit:
            raise EnvironmentProblem(f"setting {name} is {count}; it must be 0 to {limit}")
    changed = {"n_timesteps": ode_steps, "guided_steps": guided_steps}
    solver = solver.model_copy(update={name: count for name, count in changed.items() if count})
    return config.model_copy(update={"flow": config.flow.model_copy(update={"solver": solver})})


def read_config(model_dir: Path) -> ModelConfig:
    """Read MODEL_DIR/config.json.

    Raises ModelDirectoryError naming the file and, for bad content, each key at fault.
    """
    path = model_dir / CONFIG_NAME
    with step("config", path):
        if not path.is_file():
            raise ModelDirectoryError(
                f"{path} does not exist: {model_dir} is not a Tritone model directory; "
                "make one with scripts/convert.py UPSTREAM_DIR MODEL_DIR"
            )
        return _parse(path)


def _parse(path: Path) -> ModelConfig:
    try:
        return ModelConfig.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in e['loc']) or 'file'}: {e['msg']}"
            for e in error.errors()
        )
        raise ModelDirectoryError(f"{path}: {problems}") from error
