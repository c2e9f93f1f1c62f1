import numpy as np
import pytest
import torch

from hanlin.batches.batch import IGNORE
from hanlin.batches.framed import FramedRows
from hanlin.batches.loader import Loader
from hanlin.batches.permuted import PermutedBatch, PermutedRows
from hanlin.model.config import CoreConfig
from hanlin.model.encoder import Encoder
from hanlin.model.two_stream import query_stream
from hanlin.objective.permutation import Permutation
from teaching import SPECIAL, VOCABULARY, repeating, same_however_split, teach
from tiny import scatter

POSITIONS = ["rotary", "learned", "relative", "alibi"]
# The orders of two rows: ORDER[b, t] is the place of the t-th token.
ORDER = torch.tensor([[0, 3, 1, 5, 2, 4], [5, 4, 0, 2, 3, 1]])
RANKS = ORDER.argsort(1)


def build(**settings):
    torch.manual_seed(0)
    config = {"style": "bert", "vocab_size": VOCABULARY, "width": 32, "layers": 2, "heads": 2, "window": 24}
    return Encoder(CoreConfig.model_validate(config | settings))


def batch_of(tokens, places=((1, 2, 4), (3, 2, 1))):
    places_BP = torch.tensor(places)
    return PermutedBatch(tokens, RANKS, places_BP, tokens.gather(1, places_BP))


def test_the_loss_by_hand():
    model = scatter(build())
    batch = batch_of(torch.randint(12, 28, (2, 6)))
    log_p = model.logits(Permutation(3).states(model, batch)).log_softmax(-1)
    expected = -sum(log_p[row, p, batch.targets_BP[row, p]] for row in range(2) for p in range(3))
    torch.testing.assert_close(Permutation(3).loss(model, batch), expected)
    assert Permutation(3).count(batch) == 6


@pytest.mark.parametrize("position", POSITIONS)
def test_a_prediction_sees_what_is_before_it_in_the_order_and_nothing_else(position):
    """Every token of every order is changed in turn; what comes before the predicted one, and only that, matters."""
    model = scatter(build(position=position))
    tokens = torch.randint(12, 28, (2, 6))
    places = ORDER[:, 1:]  # the first token of an order has nothing to go by
    before = Permutation(3).states(model, batch_of(tokens, places.tolist()))
    for changed in range(6):
        other = tokens.clone()
        place = ORDER[:, changed]
        other[[0, 1], place] = (other[[0, 1], place] - 12 + 1) % 16 + 12
        after = Permutation(3).states(model, batch_of(other, places.tolist()))
        for p in range(5):
            same = [torch.equal(before[row, p], after[row, p]) for row in range(2)]
            assert same == [changed >= p + 1] * 2


@pytest.mark.parametrize("position", POSITIONS)
def test_a_prediction_knows_its_place(position):
    """Two orders that differ only in which of two places comes next: the same context, other predictions."""
    model = scatter(build(position=position))
    tokens = torch.randint(12, 28, (1, 6))
    states = [
        query_stream(model, tokens, torch.tensor([order]).argsort(1), torch.tensor([[order[3]]]), 3)
        for order in ([0, 5, 2, 1, 4, 3], [0, 5, 2, 4, 1, 3])
    ]
    assert not torch.allclose(*states, atol=1e-4)


def test_both_streams_by_the_formula():
    """Equation 4 token by token, without any mask: each looks at what it may look at, and nothing else is there."""
    model = scatter(build(style="llama", assembly="encoder"))
    tokens = torch.randint(12, 28, (1, 6))
    order = ORDER[0].tolist()
    h = {place: model.embed.token.weight[tokens[0, place]] for place in order}
    g = dict.fromkeys(order[1:], model.embed.token.weight[3])
    for block in model.blocks:

        def through(x, place, keys, block=block, h=h):
            def heads(of, places):
                states = torch.stack([block.attention_norm(of[k]) for k in places])[None]
                return states, model.rotary(torch.tensor([places]), states.device)

            k, v = block.attention.keys_values(*heads(h, keys))
            q = block.attention.queries(*heads({place: x}, [place]))
            weights = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1)
            x = x + block.attention.output((weights @ v).transpose(1, 2).flatten(-2))[0, 0]
            return x + block.ffn(block.ffn_norm(x)[None, None])[0, 0]

        g = {place: through(g[place], place, order[: order.index(place)]) for place in g}
        h = {place: through(h[place], place, order[: order.index(place) + 1]) for place in order}
    states = query_stream(model, tokens, RANKS[:1], torch.tensor([order[1:]]), 3)
    torch.testing.assert_close(
        states[0], torch.stack([model.norm(g[p]) for p in order[1:]]), atol=2e-6, rtol=1e-4
    )


def test_rows_with_fewer_predictions_change_nothing_and_stay_finite():
    model, objective = scatter(build()), Permutation(3)
    tokens = torch.randint(12, 28, (2, 6))
    full = batch_of(tokens)
    fewer = PermutedBatch(
        tokens,
        RANKS,
        torch.cat((full.places_BP, torch.full((2, 2), -1)), 1),
        torch.cat((full.targets_BP, torch.full((2, 2), IGNORE)), 1),
    )
    gradients = []
    for batch in (full, fewer):
        model.zero_grad()
        objective.loss(model, batch).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert gradients[1].isfinite().all()
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-4)


def test_it_does_not_depend_on_how_a_batch_is_split():
    batch = next(Loader(PermutedRows(FramedRows(repeating(), 24, SPECIAL), 0.3), rows=8).stream(0))
    same_however_split(scatter(build()), Permutation(3), batch)


def test_documents_of_a_row_do_not_see_each_other():
    model = scatter(build())
    batch = next(Loader(PermutedRows(FramedRows(repeating(length=9), 24, SPECIAL), 0.5), rows=4).stream(0))
    documents = batch.documents_BT
    row, place = next(
        (row, place)
        for row, place in np.argwhere(batch.targets_BP.numpy() != IGNORE)
        if documents[row, batch.places_BP[row, place]] != documents[row, 0]
    )
    own = documents[row] == documents[row, batch.places_BP[row, place]]
    tokens = batch.tokens_BT.clone()
    tokens[row, ~own] = 27
    changed = PermutedBatch(
        tokens, batch.ranks_BT, batch.places_BP, batch.targets_BP, batch.positions_BT, documents
    )
    states = [Permutation(3).states(model, each)[row, place] for each in (batch, changed)]
    assert torch.equal(*states)


def test_it_learns_to_repeat():
    examples = PermutedRows(FramedRows(repeating(), 24, SPECIAL), 0.25)
    found = teach(build(), Permutation(SPECIAL.mask), examples, 100)
    assert found["accuracy"] > 0.9
