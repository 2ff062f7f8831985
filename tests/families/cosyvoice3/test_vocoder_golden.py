"""The vocoder against upstream's numbers, and the released file by its names and shapes."""

import pytest
import torch
from parity import cosyvoice3_vocoder
from parity.golden import Golden
from paths import GOLDEN
from released_checkpoint import released_shapes

from benchmarks.full_size import COSYVOICE3
from tritone.acoustic.weights import check_fit
from tritone.errors import ModelDirectoryError
from tritone.families.cosyvoice3.hift import HiFT
from tritone.families.cosyvoice3.released_vocoder import vocoder_weights

FOLDER = GOLDEN / "cosyvoice3"
COMPARISONS = {  # of each case
    "hift_f0": 3,
    "hift_source": 1,
    "hift_decode": 2,
    "hift_decode_clip": 1,
    "hift_inference": 4,
    "checkpoint_noise": 3,
}
RELEASE = COSYVOICE3.vocoder


@pytest.mark.parametrize("name", COMPARISONS)
def test_equals_upstream(name: str) -> None:
    with torch.inference_mode():
        results = list(cosyvoice3_vocoder.CASES[name](Golden(FOLDER, name)))
    assert len(results) == COMPARISONS[name]
    missed = [result for result in results if not result.passed]
    assert not missed


def test_the_folder_is_recognised_by_its_vocoder() -> None:
    assert cosyvoice3_vocoder.recognises(FOLDER)
    assert not cosyvoice3_vocoder.recognises(GOLDEN / "token2wav")


@pytest.mark.parametrize("names", ["current", "legacy", "from a GAN trainer"])
def test_every_tensor_of_the_release_has_its_place(names: str) -> None:
    state = released_shapes("hift3_keys.tsv")
    assert len(state) == 328 and sum(v.numel() for v in state.values()) == 20_779_887
    if names == "legacy":
        for new, old in (("original0", "weight_g"), ("original1", "weight_v")):
            new = f"parametrizations.weight.{new}"
            state = {key.replace(new, old): value for key, value in state.items()}
    elif names == "from a GAN trainer":
        state = {f"generator.{key}": value for key, value in state.items()}
    with torch.device("meta"):
        network = HiFT(RELEASE)
        weights = vocoder_weights(state, RELEASE)
        check_fit(network, weights, "hift.pt")
    for key, value in network.state_dict().items():
        assert weights[key].dtype == value.dtype, key


def test_a_tensor_too_few_is_named() -> None:
    state = released_shapes("hift3_keys.tsv")
    del state["ups.1.parametrizations.weight.original0"]
    del state["ups.1.parametrizations.weight.original1"]
    with torch.device("meta"), pytest.raises(ModelDirectoryError) as refused:
        check_fit(HiFT(RELEASE), vocoder_weights(state, RELEASE), "hift.pt")
    assert "lacks stages.1.up.weight [256, 128, 15]" in str(refused.value)
