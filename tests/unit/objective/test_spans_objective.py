import numpy as np
import torch

from hanlin.batches.batch import IGNORE
from hanlin.batches.loader import Loader
from hanlin.batches.pack import PackedRows
from hanlin.batches.prefix import PrefixRows
from hanlin.batches.source_target import SourceTarget
from hanlin.batches.spans import SpanRows, Spans
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.model.seq2seq import Seq2Seq
from hanlin.objective.causal import Causal
from hanlin.objective.sequence_to_sequence import SequenceToSequence
from teaching import SPECIAL, VOCABULARY, repeating, same_however_split, teach
from tiny import scatter

SIZES = {"vocab_size": VOCABULARY, "width": 32, "layers": 2, "heads": 2, "window": 24}


def encoder_decoder():
    torch.manual_seed(0)
    config = {"style": "transformer", "position": "relative", "norm_placement": "pre", "embedding_scale": 1.0}
    return Seq2Seq(CoreConfig.model_validate(SIZES | config))


def decoder(**settings):
    torch.manual_seed(0)
    return Decoder(CoreConfig.model_validate(SIZES | settings))


def spans(decoder):
    return SpanRows(repeating(), 24, SPECIAL, Spans(), decoder)


def test_the_loss_of_a_translation_by_hand():
    """The decoder reads the start and the true tokens before each; the second target is shorter."""
    model = scatter(encoder_decoder())
    source = torch.tensor([[12, 13, 14], [15, 16, 0]])
    batch = SourceTarget(
        source, torch.tensor([[20, 21, 1], [22, 1, IGNORE]]), torch.tensor([[0, 0, 0], [0, 0, -1]])
    )
    read = torch.tensor([[0, 20, 21], [0, 22, 1]])
    log_p = model(source, read, batch.source_documents_BS).log_softmax(-1)
    said = [log_p[0, 0, 20], log_p[0, 1, 21], log_p[0, 2, 1], log_p[1, 0, 22], log_p[1, 1, 1]]
    objective = SequenceToSequence(start_id=0)
    torch.testing.assert_close(objective.loss(model, batch), -sum(said))
    assert objective.count(batch) == 5
    flat = -sum(log_p[r, t].mean() for r, t in ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1)))
    smooth = SequenceToSequence(start_id=0, label_smoothing=0.1).loss(model.train(), batch)
    torch.testing.assert_close(smooth, 0.9 * -sum(said) + 0.1 * flat)


def test_a_target_is_not_seen_before_it_is_said_and_the_source_is():
    model, objective = scatter(encoder_decoder()), SequenceToSequence(start_id=0)
    source, target = torch.tensor([[12, 13, 14]]), torch.tensor([[20, 21, 22, 23]])
    before = objective.states(model, SourceTarget(source, target))
    for place in range(4):
        other = target.clone()
        other[0, place] = 27
        after = objective.states(model, SourceTarget(source, other))
        assert torch.equal(before[:, : place + 1], after[:, : place + 1])
        assert place == 3 or not torch.equal(before[:, place + 1], after[:, place + 1])
    assert not torch.equal(before, objective.states(model, SourceTarget(source + 1, target)))


def test_padding_of_the_source_changes_nothing():
    model, objective = scatter(encoder_decoder()), SequenceToSequence(start_id=0)
    source, target = torch.tensor([[12, 13, 14]]), torch.tensor([[20, 21]])
    padded = SourceTarget(torch.tensor([[12, 13, 14, 27, 27]]), target, torch.tensor([[0, 0, 0, -1, -1]]))
    torch.testing.assert_close(
        objective.loss(model, padded), objective.loss(model, SourceTarget(source, target))
    )


def test_neither_depends_on_how_a_batch_is_split():
    same_however_split(
        scatter(encoder_decoder()), SequenceToSequence(0), next(Loader(spans(False), rows=7).stream(0))
    )
    same_however_split(scatter(decoder()), Causal(), next(Loader(spans(True), rows=7).stream(0)))


def test_of_a_decoder_the_source_is_read_in_both_directions_and_the_target_forwards():
    model, batch = scatter(decoder()), next(Loader(spans(True), rows=1).stream(0))
    S = int(batch.prefix_B[0])
    before = Causal().states(model, batch)
    for place in range(batch.tokens_BT.shape[1]):
        tokens = batch.tokens_BT.clone()
        tokens[0, place] = (tokens[0, place] + 1) % VOCABULARY
        changed = type(batch)(tokens, batch.targets_BT, prefix_B=batch.prefix_B)
        after = Causal().states(model, changed)
        first = 0 if place < S else place
        assert torch.equal(before[:, :first], after[:, :first])
        assert (before[:, first:] != after[:, first:]).any(-1).all()
    counted = (batch.targets_BT != IGNORE)[0]
    assert counted.tolist() == [t >= S - 1 for t in range(len(counted))]


def test_a_prefix_shows_no_target_that_counts():
    model = scatter(decoder())
    packed = PackedRows(repeating(length=100), 24, SPECIAL.end)
    batch = next(Loader(PrefixRows(packed), rows=16).stream(0))
    before = Causal().states(model, batch)
    for row in range(batch.rows):
        prefix = int(batch.prefix_B[row])
        counted = (batch.targets_BT[row] != IGNORE).nonzero().squeeze(1)
        assert counted.tolist() == list(range(prefix - 1, 24))
        for place in counted[:-1].tolist():  # the token after it is its target
            tokens = batch.tokens_BT.clone()
            tokens[row, place + 1] = 27
            changed = type(batch)(
                tokens, batch.targets_BT, batch.positions_BT, batch.documents_BT, prefix_B=batch.prefix_B
            )
            assert torch.equal(before[row, place], Causal().states(model, changed)[row, place])
            break
    assert len(set(batch.prefix_B.tolist())) > 8


def test_an_encoder_decoder_learns_to_fill_in():
    found = teach(encoder_decoder(), SequenceToSequence(SPECIAL.pad), spans(False), 150, rate=5e-3)
    assert found["accuracy"] > 0.7  # how long each span was can not be known


def test_a_decoder_learns_to_fill_in():
    found = teach(decoder(), Causal(), spans(True), 150, rate=5e-3)
    assert found["accuracy"] > 0.7


def test_a_decoder_learns_what_follows_a_prefix():
    rows = PrefixRows(PackedRows(repeating(), 24, SPECIAL.end, separate=False))
    found = teach(decoder(), Causal(), rows, 80, rate=5e-3)
    assert found["accuracy"] > 0.85  # which token a new document says can not be known


def test_the_draws_of_a_row_do_not_depend_on_its_batch():
    rows = np.array([3, 5, 8])
    seeds = [(0, 0, int(row)) for row in rows]
    for examples in (spans(True), PrefixRows(PackedRows(repeating(), 24, SPECIAL.end))):
        whole = examples.batch(rows, seeds)
        for index in range(3):
            alone = examples.batch(rows[index : index + 1], seeds[index : index + 1])
            assert torch.equal(alone.tokens_BT[0], whole.tokens_BT[index])
            assert torch.equal(alone.targets_BT[0], whole.targets_BT[index])
