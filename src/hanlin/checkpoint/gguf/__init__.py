"""GGUF files to and from the Hugging Face view of the same model: names, shapes, settings, tokenizer."""
