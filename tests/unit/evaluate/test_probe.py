"""Linear probes: the vectors are the model's own, the fit is the optimum, and only what is there is found."""

import numpy as np
import pytest
import torch

from finetuning import V, tiny
from hanlin.base.errors import RequestError
from hanlin.batches.folds import folds
from hanlin.evaluate.probe import cross_validated_probe, fit_probe, text_vectors
from tiny import CPU

TEXTS = [[4, 5, 6], [7, 8, 9, 10, 11], [5], [6, 7]]


@pytest.mark.parametrize("style", ["llama", "bert"])
@pytest.mark.parametrize("pooling", ["mean", "first", "last"])
@pytest.mark.parametrize("layer", [0, 1, 2, None])
def test_vectors_are_the_models_own(style, pooling, layer):
    model = tiny(style)
    found = text_vectors(model, TEXTS, CPU, layer=layer, pooling=pooling)
    module = {0: model.embed, 1: model.blocks[0], 2: model.blocks[1], None: model.norm}[layer]
    seen = []
    module.register_forward_hook(lambda _module, _inputs, out: seen.append(out))
    for ids, vector_C in zip(TEXTS, found, strict=True):
        last_1TC = model.hidden(torch.tensor([ids]))
        row_TC = seen[-1][0].detach()
        assert layer is not None or torch.equal(last_1TC[0], row_TC)
        expected = {"mean": row_TC.mean(0), "first": row_TC[0], "last": row_TC[-1]}[pooling]
        torch.testing.assert_close(vector_C, expected, atol=1e-5, rtol=0)


def test_a_layer_that_is_not_there_is_refused():
    with pytest.raises(RequestError, match="no layer 3: the model has 2"):
        text_vectors(tiny(), TEXTS, CPU, layer=3)


def test_the_fit_is_the_optimum_and_always_the_same():
    draw = torch.Generator().manual_seed(0)
    x_NC, labels_N = torch.randn(60, 5, generator=draw), torch.randint(3, (60,), generator=draw)
    l2 = 0.05
    probe = fit_probe(x_NC, labels_N, 3, l2)
    p_NK = probe.scores(x_NC).softmax(1)
    error_NK = (p_NK - torch.nn.functional.one_hot(labels_N, 3)) / 60
    scaled = (x_NC.double() - probe.mean_C) / probe.deviation_C
    slope_KC = error_NK.T @ scaled + l2 * probe.weight_KC
    assert slope_KC.abs().max() < 1e-6
    assert error_NK.sum(0).abs().max() < 1e-6
    again = fit_probe(x_NC, labels_N, 3, l2)
    assert torch.equal(again.weight_KC, probe.weight_KC)
    strong = fit_probe(x_NC, labels_N, 3, 100.0)
    assert strong.weight_KC.norm() < 0.02 * probe.weight_KC.norm()


def test_the_fit_does_not_depend_on_the_scale_of_the_vectors():
    draw = torch.Generator().manual_seed(0)
    x_NC, labels_N = torch.randn(40, 4, generator=draw), torch.randint(2, (40,), generator=draw)
    scale = torch.tensor([1.0, 1000.0, 0.001, 5.0])
    first, second = fit_probe(x_NC, labels_N, 2), fit_probe(x_NC * scale + 3, labels_N, 2)
    torch.testing.assert_close(first.scores(x_NC), second.scores(x_NC * scale + 3), atol=1e-3, rtol=0)


def test_what_is_in_the_vectors_is_found_and_chance_is_not():
    draw = np.random.default_rng(0)
    texts = [draw.integers(4, V, draw.integers(2, 6)).tolist() for _ in range(120)]
    there = np.array([int(2 * np.mean(ids) < 4 + V) for ids in texts])
    model = tiny("llama")
    with torch.no_grad():
        model.embed.token.weight[:, 0] = torch.arange(V) * 0.1  # what a token is can be read off one channel
    before = {name: value.clone() for name, value in model.state_dict().items()}
    vectors = text_vectors(model, texts, CPU, layer=0)
    found = cross_validated_probe(vectors, there, folds(there.tolist(), k=4))
    assert found.mean > 0.9
    assert found.deviation < 0.1
    assert len(found.accuracies) == 4
    random = draw.permutation(there)
    assert cross_validated_probe(vectors, random, folds(random.tolist(), k=4)).mean < 0.7
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
