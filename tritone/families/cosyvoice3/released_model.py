"""The numbers of a released CosyVoice3, from `cosyvoice3.yaml`."""

from tritone.checkpoints.plain_yaml import YamlValues
from tritone.errors import ModelDirectoryError
from tritone.families.cosyvoice2.released_model import read_section, solver_config, vocoder_section
from tritone.families.cosyvoice3 import config


def flow_config(values: YamlValues) -> config.FlowConfig:
    sizes = [values.integer("flow", name) for name in ("input_size", "output_size")]
    if sizes[0] != sizes[1]:
        raise ModelDirectoryError(
            f"{values.path}: flow.input_size is {sizes[0]} and flow.output_size {sizes[1]}; "
            "CosyVoice3's are the same"
        )
    return read_section(
        config.FlowConfig,
        values,
        "flow",
        chunk_size=values.integer("chunk_size"),
        lookahead_channels=values.integer("flow", "pre_lookahead_layer", "channels"),
        estimator=read_section(config.EstimatorConfig, values, "flow", "decoder", "estimator"),
        solver=solver_config(values),
    )


def vocoder_config(values: YamlValues) -> config.VocoderConfig:
    return vocoder_section(config.VocoderConfig, values)
