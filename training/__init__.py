"""How the embedded voice is made: from text and teacher voices to a checkpoint."""
