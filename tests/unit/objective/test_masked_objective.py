import torch

from hanlin.batches.batch import IGNORE, Batch
from hanlin.batches.framed import FramedRows
from hanlin.batches.loader import Loader
from hanlin.batches.masked import MaskedRows
from hanlin.batches.masking import Masking
from hanlin.model.config import CoreConfig
from hanlin.model.encoder import Encoder
from hanlin.objective.masked import Masked
from teaching import SPECIAL, VOCABULARY, repeating, same_however_split, teach
from tiny import scatter


def build(**settings):
    torch.manual_seed(0)
    config = {"style": "bert", "vocab_size": VOCABULARY, "width": 32, "layers": 2, "heads": 2, "window": 24}
    return Encoder(CoreConfig.model_validate(config | settings))


def examples():
    masking = Masking(SPECIAL.mask, VOCABULARY, SPECIAL.all)
    return MaskedRows(FramedRows(repeating(), 24, SPECIAL), masking)


def test_the_loss_by_hand_is_over_chosen_places_only():
    model = scatter(build())
    batch = Batch(torch.tensor([[2, 20, 3, 3, 1]]), torch.tensor([[IGNORE, IGNORE, 15, 16, IGNORE]]))
    log_p = model(batch.tokens_BT).log_softmax(-1)
    expected = -log_p[0, 2, 15] - log_p[0, 3, 16]
    torch.testing.assert_close(Masked().loss(model, batch), expected)
    assert Masked().count(batch) == 2
    right = sum(int(log_p[0, place].argmax() == target) for place, target in ((2, 15), (3, 16)))
    with torch.no_grad():
        assert Masked().examine(model, batch)["accuracy"] == (right, 2)


def test_a_prediction_sees_both_sides_and_never_its_answer():
    """The answer stands in the targets alone: two rows that differ only there have the same states."""
    model, objective = scatter(build()), Masked()
    text = torch.tensor([[2, 20, 21, 22, 23, 1]])

    def state(**changed):
        ids = text.clone()
        for place, id in changed.items():
            ids[0, int(place[1:])] = id
        answers = torch.where(torch.arange(6) == 3, ids, IGNORE)
        ids[0, 3] = SPECIAL.mask
        return objective.states(model, Batch(ids, answers))[0, 3]

    assert torch.equal(state(), state(p3=25))
    assert not torch.equal(state(), state(p2=25))
    assert not torch.equal(state(), state(p4=25))


def test_documents_of_a_row_do_not_see_each_other():
    model, objective = scatter(build()), Masked()
    batch = examples().framed.take(torch.tensor([1, 2]).numpy())
    assert batch.documents_BT is not None
    row = int((batch.documents_BT.max(1).values > batch.documents_BT[:, 0]).nonzero()[0])
    other = batch.tokens_BT.clone()
    last = batch.documents_BT[row] == batch.documents_BT[row, -1]
    other[row, last] = 27
    changed = Batch(other, batch.targets_BT, batch.positions_BT, batch.documents_BT)
    before, after = objective.states(model, batch)[row], objective.states(model, changed)[row]
    assert torch.equal(before[~last], after[~last])
    assert not torch.equal(before[last], after[last])


def test_it_does_not_depend_on_how_a_batch_is_split():
    batch = next(Loader(examples(), rows=8).stream(0))
    same_however_split(scatter(build()), Masked(), batch)


def test_label_smoothing_only_while_training():
    model, objective = build(), Masked(label_smoothing=0.2)
    batch = next(Loader(examples(), rows=8).stream(0))
    chosen = batch.targets_BT != IGNORE
    log_p = model(batch.tokens_BT, batch.positions_BT, batch.documents_BT)[chosen].log_softmax(-1)
    plain = -log_p.gather(1, batch.targets_BT[chosen].unsqueeze(1)).sum()
    torch.testing.assert_close(objective.loss(model.eval(), batch), plain)
    torch.testing.assert_close(objective.loss(model.train(), batch), 0.8 * plain - 0.2 * log_p.mean(1).sum())


def test_it_learns_to_repeat():
    found = teach(build(), Masked(), examples(), 100)
    assert found["accuracy"] > 0.9
    assert found["loss"] < 0.6
