"""What the benchmarks need to know of a family beyond its contract."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from tritone.acoustic.vocoder_stage import StreamingVocoder
from tritone.families.contract import Model
from tritone.families.cosyvoice2 import acoustics as acoustics2
from tritone.families.cosyvoice2 import flow as flow2
from tritone.families.cosyvoice2 import hift as hift2
from tritone.families.cosyvoice2 import released_files as files2
from tritone.families.cosyvoice2 import released_tokenizer as tokenizer2
from tritone.families.cosyvoice2 import vocoder as vocoder2
from tritone.families.cosyvoice3 import acoustics as acoustics3
from tritone.families.cosyvoice3 import flow as flow3
from tritone.families.cosyvoice3 import hift as hift3
from tritone.families.cosyvoice3 import released_files as files3
from tritone.families.cosyvoice3 import released_tokenizer as tokenizer3
from tritone.families.cosyvoice3 import vocoder as vocoder3
from tritone.families.cosyvoice3.source_noise import SourceNoise


@dataclass(frozen=True)
class FamilyParts:
    """flow, vocoder: the networks in the files of those names.

    plain_vocoder: as it is loaded, in float32. vocoded_again: mel frames before the new ones that
    upstream vocodes again with each chunk, None for all. added: the tokens that the release adds to
    Qwen2's. yaml: the release's file of numbers. flow_table, vocoder_table: lists of what is in its
    flow.pt and hift.pt.
    """

    flow: Callable[[Any], nn.Module]
    vocoder: Callable[[Any], nn.Module]
    plain_vocoder: Callable[[Model], StreamingVocoder[Any]]
    vocoded_again: int | None
    added: Sequence[str]
    yaml: str
    flow_table: str
    vocoder_table: str


def _plain_vocoder2(model: Model) -> vocoder2.Vocoder:
    network = acoustics2.load_hift(model.folder, model.config)
    return vocoder2.Vocoder(network, model.config.sample_rate)


def _plain_vocoder3(model: Model) -> vocoder3.Vocoder:
    network = acoustics3.load_hift(model.folder, model.config)
    return vocoder3.Vocoder(network, model.config.sample_rate, SourceNoise(model.config))


PARTS = {
    "cosyvoice2": FamilyParts(
        flow2.FlowNetwork,
        hift2.HiFT,
        _plain_vocoder2,
        vocoded_again=8,
        added=tokenizer2.ADDED,
        yaml=files2.YAML,
        flow_table="flow_keys.tsv",
        vocoder_table="hift_keys.tsv",
    ),
    "cosyvoice3": FamilyParts(
        flow3.FlowNetwork,
        hift3.HiFT,
        _plain_vocoder3,
        vocoded_again=None,
        added=tokenizer3.ADDED,
        yaml=files3.YAML,
        flow_table="flow3_keys.tsv",
        vocoder_table="hift3_keys.tsv",
    ),
}
