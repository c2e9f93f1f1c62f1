import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hanlin.batches.batch import IGNORE
from hanlin.batches.loader import Loader
from hanlin.batches.masking import Masking
from hanlin.batches.sentence_pairs import PairBatch, PairRows, Sentences
from hanlin.model.config import CoreConfig
from hanlin.model.encoder import Encoder
from hanlin.objective.sentence_pairs import SentencePairs
from teaching import SPECIAL, VOCABULARY, same_however_split, teach
from tiny import scatter


def build(**settings):
    torch.manual_seed(0)
    config = {
        "style": "bert",
        "head": "pretraining",
        "vocab_size": VOCABULARY,
        "width": 32,
        "layers": 2,
        "heads": 2,
    }
    return Encoder(CoreConfig.model_validate(config | {"window": 40} | settings))


def examples(question):
    """Two documents that share no token; in each, tokens say where in it they stand."""
    stream, starts = [], []
    for document in range(2):
        stream.append(SPECIAL.end)
        for sentence in range(8):
            starts.append(len(stream))
            stream += [12 + 8 * document + sentence] * 4
    sentences = Sentences(np.array([*stream, SPECIAL.end], np.uint16), np.array(starts), SPECIAL.end)
    return PairRows(sentences, 32, SPECIAL, Masking(SPECIAL.mask, VOCABULARY, SPECIAL.all), question)


def test_the_loss_by_hand():
    """Two pairs, one with two hidden tokens and one with one; the first weighs twice."""
    model = scatter(build())
    batch = PairBatch(
        tokens_BT=torch.tensor([[2, 20, 3, 1, 3, 1], [2, 14, 1, 3, 1, 0]]),
        targets_BT=torch.tensor(
            [[IGNORE, IGNORE, 15, IGNORE, 16, IGNORE], [IGNORE, IGNORE, IGNORE, 21, IGNORE, IGNORE]]
        ),
        segments_BT=torch.tensor([[0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 0]]),
        documents_BT=torch.tensor([[0] * 6, [0] * 5 + [-1]]),
        answers_B=torch.tensor([0, 1]),
    )
    hidden = model.hidden(batch.tokens_BT, documents_BT=batch.documents_BT, segments_BT=batch.segments_BT)
    log_p = model.logits(hidden).log_softmax(-1)
    first = log_p[0, 2, 15] + log_p[0, 4, 16]
    pooled = torch.tanh(model.pooler.dense(hidden[:, 0]))
    judged = F.linear(pooled, model.next_sentence.weight, model.next_sentence.bias).log_softmax(-1)
    expected = -(first + log_p[1, 3, 21]) - 2 * judged[0, 0] - judged[1, 1]
    torch.testing.assert_close(SentencePairs().loss(model, batch), expected)
    assert SentencePairs().count(batch) == 3
    with torch.no_grad():
        found = SentencePairs().examine(model, batch)
    assert found["loss"] == (pytest.approx(float(expected.detach())), 3)
    assert found["token_loss"][1] == 3
    assert found["pair_loss"] == (pytest.approx(float((-judged[0, 0] - judged[1, 1]).detach())), 2)


def test_padding_changes_nothing_and_the_pair_is_seen():
    model, objective = scatter(build()), SentencePairs()
    batch = next(Loader(examples("next-sentence"), rows=8).stream(0))
    longer = PairBatch(
        F.pad(batch.tokens_BT, (0, 3), value=25),
        F.pad(batch.targets_BT, (0, 3), value=IGNORE),
        F.pad(batch.segments_BT, (0, 3)),
        F.pad(batch.documents_BT, (0, 3), value=-1),
        batch.answers_B,
    )
    torch.testing.assert_close(objective.loss(model, batch), objective.loss(model, longer))
    other = PairBatch(
        batch.tokens_BT, batch.targets_BT, 1 - batch.segments_BT, batch.documents_BT, batch.answers_B
    )
    assert not torch.allclose(objective.loss(model, batch), objective.loss(model, other))


def test_it_does_not_depend_on_how_a_batch_is_split():
    batch = next(Loader(examples("next-sentence"), rows=8).stream(0))
    assert len(set((batch.targets_BT != IGNORE).sum(1).tolist())) > 1
    same_however_split(scatter(build()), SentencePairs(), batch)


@pytest.mark.parametrize("question", ["next-sentence", "sentence-order"])
def test_it_learns_to_judge(question):
    found = teach(build(), SentencePairs(), examples(question), 250, rate=2e-3)
    assert found["pair_accuracy"] > 0.9
