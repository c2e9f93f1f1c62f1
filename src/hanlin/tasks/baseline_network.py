"""The classical neural rung beside a language model: the text-CNN of Kim 2014, from random vectors of words.

N records, K labels, T words of the longest text.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch

from hanlin.base.device import Compute
from hanlin.base.records import Labelled
from hanlin.batches.batch import IGNORE
from hanlin.batches.labelled import LabelledBatch, LabelledTexts
from hanlin.batches.loader import Loader
from hanlin.corpus.units import units
from hanlin.evaluate.measure import Floats, Ids
from hanlin.model.classical.text_cnn import TextCNN, TextCNNConfig
from hanlin.objective.classification import Classification, MultiLabel
from hanlin.tokenizer.framing import Encoding
from hanlin.trainer.config import TrainingConfig
from hanlin.trainer.learner import Learner
from hanlin.trainer.optimizer import build_optimizers
from hanlin.trainer.step import training_step

EPOCHS, ROWS, MOST_STEPS = 5, 32, 600
"""Passes over the records, records of a step, and how many steps it is at most: some tens of seconds on one core."""

MOST_WORDS, MOST_LENGTH = 20_000, 256
_PAD, _UNKNOWN = 0, 1


def text_cnn(
    targets_NK: Floats, train: Sequence[Labelled], test: Sequence[Labelled], several: bool, seed: int
) -> tuple[Floats, int]:
    """Probabilities of the labels of the test records, (N, K), and the number of parameters. targets_NK: 0 or 1; several:
    whether a record can have several labels. On the CPU; torch's own random state is left as it was."""
    texts = [units(record.text)[:MOST_LENGTH] for record in train]
    counts = Counter(word for text in texts for word in text)
    words = [word for word, count in counts.most_common(MOST_WORDS) if count > 1 or len(train) <= 100]
    number = {word: id for id, word in enumerate(words, start=_UNKNOWN + 1)}
    labels = targets_NK.astype(np.int64) if several else targets_NK.argmax(1)
    rows = _rows(texts, number, labels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = TextCNNConfig(vocab_size=len(words) + 2, classes=targets_NK.shape[1], pad_id=_PAD)
        model = TextCNN(config)
        _learn(model, rows, several, seed)
    asked = [units(record.text)[:MOST_LENGTH] for record in test]
    said = _said(model.eval(), _rows(asked, number, np.full(len(test), IGNORE, np.int64)))
    probabilities = said.sigmoid() if several else said.softmax(1)
    return probabilities.numpy(), sum(parameter.numel() for parameter in model.parameters())


def _rows(texts: Sequence[Sequence[str]], number: dict[str, int], labels: Ids) -> LabelledTexts:
    encodings = []
    for text in texts:
        ids = [number.get(word, _UNKNOWN) for word in text] or [_UNKNOWN]
        encodings.append(Encoding(ids, [0] * len(ids), [0] * len(ids), cut=0))
    return LabelledTexts(encodings, labels, _PAD, layout="padded")


def _learn(model: TextCNN, rows: LabelledTexts, several: bool, seed: int) -> None:
    steps = min(MOST_STEPS, max(1, EPOCHS * len(rows) // ROWS))
    settings = TrainingConfig(steps=steps, warmup=0, optimizer="adamw", learning_rate=3e-3, weight_decay=0.01)
    learner, optimizers = Learner(model.train()), build_optimizers(model, settings)
    objective = MultiLabel() if several else Classification()
    compute = Compute(torch.device("cpu"), torch.float32)
    stream = Loader(rows, rows=ROWS, seed=seed, sizes=rows.sizes).stream(0)
    for _ in range(steps):
        training_step(
            learner,
            objective,
            optimizers,
            next(stream),
            compute,
            micro_rows=ROWS,
            clip=settings.clip,
            on_nonfinite="stop",
        )


@torch.inference_mode()
def _said(model: TextCNN, rows: LabelledTexts) -> torch.Tensor:
    """Logits of every row, (N, K) float64."""
    said = []
    for batch in Loader(rows, rows=ROWS).once():
        assert isinstance(batch, LabelledBatch)
        said.append(model(batch.inputs.tokens_BT).double())
    return torch.cat(said)
