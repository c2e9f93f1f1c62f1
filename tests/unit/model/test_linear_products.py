import pytest
import torch
from torch import nn

from hanlin.model.linear import products


class Doubled(nn.Linear):
    def forward(self, input):
        return 2 * super().forward(input)


@pytest.mark.parametrize("biases", [(True, True, True), (False, False, False), (True, False, True)])
def test_together_they_are_what_each_is_and_so_are_their_gradients(biases):
    torch.manual_seed(0)
    layers = [nn.Linear(8, size, bias=bias) for size, bias in zip((6, 3, 3), biases, strict=True)]
    x = torch.randn(2, 5, 8, requires_grad=True)
    found = []
    for made in (products(x, *layers), [layer(x) for layer in layers]):
        loss = sum((out * out.detach().flip(0)).sum() for out in made)
        found.append(
            (*made, *torch.autograd.grad(loss, [x, *(p for layer in layers for p in layer.parameters())]))
        )
    for together, alone in zip(*found, strict=True):
        torch.testing.assert_close(together, alone)


def test_a_layer_that_does_more_than_a_product_does_it():
    layers = nn.Linear(8, 4), Doubled(8, 4)
    x = torch.randn(3, 8)
    assert torch.equal(products(x, *layers)[1], layers[1](x))
    with torch.no_grad():
        assert torch.equal(products(x, *layers)[0], layers[0](x))
