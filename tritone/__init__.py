"""Tritone: streaming text-to-speech with CosyVoice2 checkpoints."""
