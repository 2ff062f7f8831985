"""The released files of CosyVoice2: those that the converter reads, their digests, where they lie.

Sizes and SHA-256 as listed in the file manifests of the public repositories ayutaz/vokra
(tools/parity/cosyvoice2_inspect.py, which also has the Git blob ids) and znc15/VoxLink
(src/VoxLink/Models/LocalModelCatalog.Manifests.cs), both for the Hugging Face revision below. The
digest of each large file gives, as a Git LFS pointer, the blob id that the first one lists.
sysou-com/Weaveora measured the same digests on llm.pt, flow.pt, hift.pt and the speech tokenizer
as it got them from ModelScope.
"""

from tritone.checkpoints.release import Release, ReleaseFile, Repository
from tritone.families.cosyvoice2 import released_files as names

COSYVOICE2 = Release(
    name="CosyVoice2-0.5B",
    files=(
        ReleaseFile(
            names.YAML,
            7_330,
            "0af2c0d010c477187c39f3e8fd5f1ae2e4e6f90ad03ba37c10ed6c6a87b05959",
        ),
        ReleaseFile(
            f"{names.BASE_LLM}/config.json",
            659,
            "168aa1bd401abc3bc262ba15ba4e499627a8b4e006e9d050b47c22de20660185",
        ),
        ReleaseFile(
            f"{names.BASE_LLM}/tokenizer_config.json",
            1_287,
            "482bd979881423375ca5414e4e0d94cd7c5349dbb17fffd46b4d36d71e62a1bc",
        ),
        ReleaseFile(
            f"{names.BASE_LLM}/merges.txt",
            1_402_109,
            "ac8ff86a72bee70828fbc1119bc4398c6f3a9a6e490d7b0dbe917be025478bd0",
        ),
        ReleaseFile(
            f"{names.BASE_LLM}/vocab.json",
            2_776_833,
            "ca10d7e9fb3ed18575dd1e277a2579c16d108e32f27439684afa0e10b1440910",
        ),
        ReleaseFile(
            names.SPEAKER_ENCODER,
            28_303_423,
            "a6ac6a63997761ae2997373e2ee1c47040854b4b759ea41ec48e4e42df0f4d73",
        ),
        ReleaseFile(
            names.HIFT,
            83_390_254,
            "3386cc880324d4e98e05987b99107f49e40ed925b8ecc87c1f4939432d429879",
        ),
        ReleaseFile(
            names.FLOW,
            450_575_567,
            "ff4c2f867674411e0a08cee702996df13fa67c1cd864c06108da88d16d088541",
        ),
        ReleaseFile(
            names.SPEECH_TOKENIZER,
            496_082_973,
            "d43342aa12163a80bf07bffb94c9de2e120a8df2f9917cd2f642e7f4219c6f71",
        ),
        ReleaseFile(
            names.LLM,
            2_023_316_821,
            "b144ef55b51ce8cfb79a73c90dbba0bdaba4e451c0ebcfab20f769264f84a608",
        ),
    ),
    repositories=(
        # No public source states the commit of ModelScope's present files (the two that are stated,
        # 9bd5b08f and 60b054e5, are of April 2025 and before): the digests above pin it instead,
        # and what the branch has now is compared with them before the first byte.
        Repository("modelscope", "iic/CosyVoice2-0.5B", "master"),
        Repository(
            "huggingface",
            "FunAudioLLM/CosyVoice2-0.5B",
            "eec1ae6c79877dbd9379285cf8789c9e0879293d",
        ),
    ),
)
