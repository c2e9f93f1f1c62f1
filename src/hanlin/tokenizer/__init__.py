"""Text to ids and back: training, loading any tokenizer.json, the one chat renderer, measures."""
