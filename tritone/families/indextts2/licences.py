"""The licences of IndexTTS2's released files, as public sources state them."""

from tritone.checkpoints.licences import Licence

LICENCES = (
    Licence(
        "bilibili-model-use",
        "IndexTeam/IndexTTS-2",
        (
            "gpt.safetensors, prompter.safetensors, conditioning.safetensors, emotions.safetensors",
            "flow.safetensors but for its code book, tokenizer.model, emotion_model/",
        ),
        "royalty-free; more than 100 million monthly users or RMB 1 billion of revenue need a "
        "licence of bilibili's; the terms and notices are passed on with these files and what is "
        "made of them; not for improving other AI models, not for high-risk uses",
        accepted=True,
    ),
    Licence(
        "CC-BY-NC-4.0",
        "amphion/MaskGCT",
        ("semantic_codec.safetensors", "the code book in flow.safetensors"),
        "no commercial use; attribution",
        accepted=True,
    ),
    Licence("MIT", "facebook/w2v-bert-2.0", ("w2v_bert.safetensors",), "attribution"),
    Licence("Apache-2.0", "funasr/campplus", ("speaker_encoder.safetensors",), "attribution"),
    Licence(
        "MIT",
        "nvidia/bigvgan_v2_22khz_80band_256x",
        ("vocoder.safetensors",),
        "attribution",
    ),
)
