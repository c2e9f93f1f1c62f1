import torch
from torch import nn

from hanlin.trainer.average import begin_average, mean_weights, standing_in, update_average
from hanlin.trainer.learner import Learner


def linear(value: float) -> nn.Linear:
    model = nn.Linear(2, 1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)
    return model


def test_the_mean_is_exact_where_a_float32_sum_is_not() -> None:
    values = [1e8, 1.0, -1e8, 1.0]
    single = torch.zeros(())
    for value in values:
        single += value
    assert float(single) != 2.0
    mean = mean_weights(linear(value) for value in values)
    assert mean.keys() == {"weight", "bias"}
    assert all(torch.equal(value, torch.full_like(value, 0.5)) for value in mean.values())
    assert all(value.dtype == torch.float32 for value in mean.values())


def test_the_moving_average_is_that_of_the_formula_and_forgets_where_it_began() -> None:
    model = linear(100.0)
    average = begin_average(model)
    expected = 100.0
    for step in range(1, 200):
        with torch.no_grad():
            model.weight.fill_(step % 5)
        update_average(average, model, 0.9, step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * (step % 5)
    torch.testing.assert_close(average["weight"], torch.full((1, 2), expected))
    assert expected < 4


def test_frozen_parameters_have_no_average() -> None:
    model = linear(1.0)
    model.bias.requires_grad_(False)
    assert begin_average(model).keys() == {"weight"}


def test_what_stands_in_leaves_the_weights_as_they_were_to_the_bit() -> None:
    learner = Learner(linear(0.1))
    before = {name: p.detach().clone() for name, p in learner.model.named_parameters()}
    with standing_in(learner, {"weight": torch.full((1, 2), 7.0)}) as own:
        assert own.keys() == {"weight"}
        assert torch.equal(own["weight"], before["weight"])
        assert torch.equal(learner.model.weight, torch.full((1, 2), 7.0))
        assert torch.equal(learner.model.bias, before["bias"])
    assert all(torch.equal(p, before[name]) for name, p in learner.model.named_parameters())
