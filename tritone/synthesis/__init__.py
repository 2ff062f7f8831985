"""A request on its way to audio, over whatever runs the stages. No torch."""
