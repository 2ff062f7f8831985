"""From raw text to token ids: normalise, segment, pronounce, tokenise."""
