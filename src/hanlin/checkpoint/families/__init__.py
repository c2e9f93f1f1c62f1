"""One file per family of models: what its config.json says, and what its tensors are called."""
