"""IndexTTS2 as upstream releases and loads it; Tritone does not serve it."""
