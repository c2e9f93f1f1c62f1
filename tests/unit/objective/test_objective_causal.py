import math

import pytest
import torch

from hanlin.batches.batch import IGNORE, Batch
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.objective.causal import Causal

V = 11


def build(**settings):
    torch.manual_seed(0)
    model = Decoder(
        CoreConfig(vocab_size=V, width=16, layers=2, heads=2, ffn_width=32, window=16, **settings)
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


@pytest.fixture
def model():
    return build()


@pytest.fixture
def batch():
    """Eight rows of which each counts another number of targets; one counts none."""
    ids_BT = torch.randint(V, (8, 10), generator=torch.Generator().manual_seed(1))
    targets_BT = torch.randint(V, (8, 10), generator=torch.Generator().manual_seed(2))
    for row in range(8):
        targets_BT[row, 10 - row :] = IGNORE
    targets_BT[7] = IGNORE
    return Batch(ids_BT, targets_BT)


def gradients(model, batches, total):
    model.zero_grad(set_to_none=True)
    loss = 0.0
    for batch in batches:
        part = Causal().loss(model, batch)
        (part / total).backward()
        loss += float(part.detach()) / total
    return loss, {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def same(first, second):
    assert first[0] == pytest.approx(second[0], abs=1e-6)
    for name, gradient in first[1].items():
        torch.testing.assert_close(gradient, second[1][name], atol=1e-6, rtol=0, msg=name)


def test_the_loss_by_hand(model):
    batch = Batch(torch.tensor([[3, 1, 4]]), torch.tensor([[1, IGNORE, 5]]))
    with torch.no_grad():
        loss = Causal().loss(model, batch)
        probabilities = model(batch.tokens_BT).exp() / model(batch.tokens_BT).exp().sum(-1, keepdim=True)
    expected = -math.log(probabilities[0, 0, 1]) - math.log(probabilities[0, 2, 5])
    assert Causal().count(batch) == 2
    assert float(loss) == pytest.approx(expected, abs=1e-5)
    assert loss.shape == ()


def test_equal_logits_give_the_logarithm_of_the_vocabulary(model, batch):
    with torch.no_grad():
        model.embed.token.weight.zero_()  # tied: the head gives zero everywhere
        loss = Causal().loss(model, batch)
    assert float(loss) / Causal().count(batch) == pytest.approx(math.log(V), rel=1e-6)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_loss_and_gradient_do_not_depend_on_how_a_batch_is_split(model, batch, rows):
    total = Causal().count(batch)
    assert total == sum(Causal().count(part) for part in batch.split(rows)) == 10 + 9 + 8 + 7 + 6 + 5 + 4
    same(gradients(model, [batch], total), gradients(model, batch.split(rows), total))


def test_a_mean_of_means_would_be_another_gradient(model, batch):
    """What the one reduction rule is for: rows count other numbers of targets."""
    _, right = gradients(model, [batch], Causal().count(batch))
    model.zero_grad(set_to_none=True)
    losss = [Causal().loss(model, part) for part in batch.split(1)[:7]]
    sum(
        loss / Causal().count(part) / 7 for loss, part in zip(losss, batch.split(1)[:7], strict=True)
    ).backward()
    difference = model.embed.token.weight.grad - right["embed.token.weight"]
    assert difference.abs().max() > 1e-2


def test_loss_and_gradient_do_not_depend_on_padding(model, batch):
    def padded(ids, value):
        return torch.cat([ids, torch.full((8, 4), value)], dim=1)

    more_rows = torch.full((2, 14), 5)
    longer = Batch(
        torch.cat([padded(batch.tokens_BT, 7), more_rows]),
        torch.cat([padded(batch.targets_BT, IGNORE), torch.full((2, 14), IGNORE)]),
    )
    total = Causal().count(batch)
    assert Causal().count(longer) == total
    same(gradients(model, [batch], total), gradients(model, [longer], total))


@pytest.mark.parametrize("position", ["rotary", "learned"])
def test_packed_documents_have_the_loss_of_separate_ones(position):
    """Only learned positions show whether they restart: rotary ones see nothing but distances."""
    model = build(position=position)
    ids = torch.randint(V, (1, 10), generator=torch.Generator().manual_seed(3))
    first, second = Batch(ids[:, :4], ids[:, 1:5]), Batch(ids[:, 4:9], ids[:, 5:10])
    packed = Batch(
        ids[:, :9],
        ids[:, 1:10],
        torch.tensor([[0, 1, 2, 3, 0, 1, 2, 3, 4]]),
        torch.tensor([[1, 1, 1, 1, 2, 2, 2, 2, 2]]),
    )
    same(gradients(model, [first, second], 9), gradients(model, [packed], 9))


def test_a_batch_without_targets_adds_nothing(model, batch):
    nothing = Batch(batch.tokens_BT, torch.full_like(batch.targets_BT, IGNORE))
    loss = Causal().loss(model, nothing)
    loss.backward()
    assert (loss.item(), Causal().count(nothing)) == (0.0, 0)
    assert all((parameter.grad == 0).all() for parameter in model.parameters())


def test_label_smoothing_by_hand_and_only_while_training() -> None:
    torch.manual_seed(0)
    model = Decoder(CoreConfig(vocab_size=11, width=8, layers=1, heads=1, window=8))
    tokens = torch.randint(11, (2, 7))
    batch = Batch(tokens[:, :-1], tokens[:, 1:])
    log_p = model(batch.tokens_BT).log_softmax(-1)
    plain = -log_p.gather(-1, batch.targets_BT.unsqueeze(-1)).sum()
    smooth = 0.9 * plain - 0.1 * log_p.mean(-1).sum()
    objective = Causal(label_smoothing=0.1)
    torch.testing.assert_close(objective.loss(model.train(), batch), smooth)
    torch.testing.assert_close(objective.loss(model.eval(), batch), plain)
