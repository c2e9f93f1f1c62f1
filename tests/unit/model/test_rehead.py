"""Another head on the same body."""

import pytest
import torch

from finetuning import tiny
from hanlin.base.errors import ConfigError
from hanlin.model.rehead import with_head


def ids():
    return torch.randint(0, 24, (2, 7), generator=torch.Generator().manual_seed(1))


def test_the_body_stays_and_the_new_head_is_named():
    model = tiny()
    before = model.hidden(ids())
    changed, new = with_head(model, head="classify", label_names=("a", "b", "c"))
    assert new == ["pooler.dense.weight", "pooler.dense.bias", "head.weight", "head.bias"]
    assert torch.equal(changed.hidden(ids()), before)
    assert changed(ids()).shape == (2, 3)
    assert float(changed.head.weight.detach().abs().max()) < 0.2  # begun, not what the memory held
    assert changed.config.label_names == ("a", "b", "c")


def test_a_head_that_fits_is_kept_and_another_number_of_labels_begins_anew():
    model = tiny(head="classify", labels=2)
    same, new = with_head(model, head="classify", labels=2)
    assert (same(ids()) == model(ids())).all()
    assert new == []
    _, new = with_head(tiny(head="classify", labels=2), head="classify", labels=3)
    assert new == ["head.weight", "head.bias"]


def test_a_tied_decoder_gets_labels_and_gives_its_embedding_back():
    model = tiny("llama", tied=True, head="lm")
    judge, new = with_head(model, head="classify", labels=2)
    assert new == ["head.weight"]
    assert not judge.config.tied
    assert judge(ids()).shape == (2, 2)
    again, new = with_head(judge, head="lm", tied=True)
    assert again.head.weight is again.embed.token.weight
    assert new == []


def test_a_head_that_the_assembly_cannot_have_is_refused():
    with pytest.raises(ConfigError, match="cannot have such a head"):
        with_head(tiny("llama"), head="masked")


def test_a_head_of_other_labels_begins_anew_though_it_has_the_same_shape():
    model = tiny(head="classify", label_names=("bad", "good"))
    _, new = with_head(model, head="classify", label_names=("bad", "good"))
    assert new == []
    _, new = with_head(model, head="classify", label_names=("good", "bad"))
    assert new == ["head.weight", "head.bias"]
    _, new = with_head(model, head="tag", label_names=("bad", "good"))
    assert "head.weight" in new
