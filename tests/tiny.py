"""What tests of model folders share: tiny random models, and how near two of them must be."""

import json

import torch
from safetensors.torch import load_file, save_file

from hanlin.base.device import Compute

CPU = Compute(torch.device("cpu"), torch.float32)


def scatter(model):
    """Weights far from zero and norms far from one, so that a mistake in any of them shows."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
    return model.eval()


def close(a, b):
    torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


def damage(folder, change):
    """Change the tensors of a folder of theirs."""
    tensors = load_file(folder / "model.safetensors")
    tensors = change(tensors) or tensors
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def edit(folder, without=(), **values):
    """Change config.json, and take keys out."""
    path = folder / "config.json"
    merged = {**json.loads(path.read_text()), **values}
    path.write_text(json.dumps({key: value for key, value in merged.items() if key not in without}))
