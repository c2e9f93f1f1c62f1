"""How good is it: perplexity and bits per byte with intervals, beside an n-gram model; results and report."""
