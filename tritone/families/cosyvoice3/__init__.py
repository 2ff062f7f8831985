"""CosyVoice3: Qwen2 speech LM, diffusion transformer flow matching, causal HiFT vocoder."""
