"""The only engine: sampling, streaming, batching, and what `hanlin.load` returns."""
