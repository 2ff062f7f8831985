"""CosyVoice2: Qwen2 speech LM, U-Net flow matching, HiFT vocoder."""
