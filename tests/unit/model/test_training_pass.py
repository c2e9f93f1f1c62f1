"""A training pass compiled, or with its activations computed again, is the same pass."""

import pytest
import torch

from hanlin.model.assemble import build_model
from hanlin.model.config import CoreConfig
from hanlin.model.stack import Stack
from hanlin.objective.cross_entropy import token_loss

STYLES = {
    "gpt2": {"style": "gpt2"},
    "llama, grouped, qk_norm": {"kv_heads": 2, "qk_norm": True},
    "bert": {"style": "bert"},
    "sliding": {"attention": ["sliding", "full"], "attention_window": 4},
}


def model_of(settings):
    torch.manual_seed(0)
    shape = {"vocab_size": 50, "width": 32, "layers": 3, "heads": 4, "window": 24}
    return build_model(CoreConfig(**{**shape, **settings}))


def loss_and_gradients(model, hidden):
    tokens_BT = torch.randint(50, (2, 12), generator=torch.Generator().manual_seed(1))
    model.zero_grad(set_to_none=True)
    torch.manual_seed(2)
    loss = token_loss(model, hidden(tokens_BT), tokens_BT.roll(-1, 1))
    loss.backward()
    return [loss.detach(), *(p.grad for p in model.parameters() if p.grad is not None)]


@pytest.mark.parametrize("style", ["gpt2", "llama, grouped, qk_norm", "bert"])
def test_the_whole_of_it_is_one_graph_for_the_compiler(style):
    model = model_of(STYLES[style])
    compiled = torch.compile(model.hidden, fullgraph=True, backend="aot_eager")
    eager = loss_and_gradients(model, model.hidden)
    for ours, expected in zip(loss_and_gradients(model, compiled), eager, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("style", STYLES)
def test_checkpointing_computes_all_blocks_but_the_last_twice_and_changes_nothing(style):
    model = model_of({**STYLES[style], "dropout": 0.3})
    assert isinstance(model, Stack)
    seen = []
    for number, block in enumerate(model.blocks):
        block.register_forward_pre_hook(lambda *_, number=number: seen.append(number))
    plain = loss_and_gradients(model, model.hidden)
    model.checkpointing = True
    again = loss_and_gradients(model, model.hidden)
    assert seen == [0, 1, 2, 0, 1, 2, 1, 0]
    for ours, expected in zip(again, plain, strict=True):
        assert torch.equal(ours, expected)
    with torch.no_grad():
        model.hidden(torch.zeros(1, 5, dtype=torch.long))
    assert seen[8:] == [0, 1, 2]
