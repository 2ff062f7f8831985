"""Audio in and acoustic features: resampling, mel spectrograms, filter banks."""
