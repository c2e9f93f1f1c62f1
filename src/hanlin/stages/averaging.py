"""The mean of several checkpoints of a run, as a model folder of its own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from hanlin.base.device import Compute
from hanlin.base.distributed import from_first
from hanlin.base.manifest import read_manifest
from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.checkpoint.folder import open_model, save_model
from hanlin.checkpoint.resume import KIND
from hanlin.objective.mixture import Mixture
from hanlin.trainer.average import mean_weights
from hanlin.trainer.config import TrainingConfig
from hanlin.trainer.learner import Learner
from hanlin.trainer.validate import validate

_CPU = Compute(torch.device("cpu"), torch.float32)


def write_average(
    target: Path,
    checkpoints: Sequence[Path],
    mixture: Mixture,
    config: TrainingConfig,
    compute: Compute,
    generation: GenerationDefaults,
) -> dict[str, Any]:
    """Write the mean of the weights of `checkpoints`, validated like each of them, to the model folder `target`.

    Every process calls it, the first writes. Returns the report: of which checkpoints, and the loss in nats.
    """
    weights = mean_weights(open_model(folder, _CPU)[0] for folder in checkpoints)
    model, tokenizer, _ = open_model(checkpoints[-1], _CPU)
    model.load_state_dict(weights, strict=False)  # what is no parameter follows from the settings
    measured = validate(Learner(model.to(compute.device)), mixture, config.validation_rows, compute)
    report = {
        "average_of": [folder.name for folder in checkpoints],
        "average_valid_loss": measured["valid_loss"],
    }
    inputs = {folder.name: read_manifest(folder, KIND).fingerprint for folder in checkpoints}
    from_first(lambda: save_model(target, model.cpu(), tokenizer, generation, inputs, report))
    return report
