"""Models that came before the Transformer, kept as rungs of the ladder that it has to climb."""
