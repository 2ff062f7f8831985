"""The model directory, as far as it is alike for every family of models."""
