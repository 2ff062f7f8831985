"""What every front end shares: text, audio, voices."""
