"""The encoder-decoder: its order, its masks, its cache, its size, and that it learns."""

import pytest
import torch
import torch.nn.functional as F

from hanlin.base.errors import RequestError
from hanlin.model.cache import KeyValueCache
from hanlin.model.config import CoreConfig
from hanlin.model.count import cache_bytes_per_token, parameters
from hanlin.model.seq2seq import Seq2Seq, shift_right

SHAPE = {"style": "transformer", "vocab_size": 40, "width": 24, "layers": 2, "decoder_layers": 3, "heads": 4,
         "kv_heads": 2, "ffn_width": 32, "window": 24}  # fmt: skip
POSITIONS = [
    {},
    {"position": "learned"},
    {"position": "relative", "norm_placement": "pre"},
    {"position": "alibi"},
    {"position": "rotary"},
    {"position": "none", "norm_placement": "sandwich", "qk_norm": True},
    {"attention": ("sliding", "full"), "attention_window": 3},
]


def build(**settings):
    torch.manual_seed(0)
    model = Seq2Seq(CoreConfig.model_validate({**SHAPE, **settings}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model.eval()


def draw(rows, length, seed):
    return torch.randint(40, (rows, length), generator=torch.Generator().manual_seed(seed))


SOURCE_BS, TARGET_BT = draw(3, 9, 1), draw(3, 8, 2)


def close(a, b):
    torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


# What each part sees.


@torch.no_grad()
def test_the_source_reaches_the_target_through_every_block_of_the_decoder():
    model = build()
    before = model(SOURCE_BS, TARGET_BT)
    changed_BS = SOURCE_BS.clone()
    changed_BS[:, 4] = (changed_BS[:, 4] + 1) % 40
    assert (model(changed_BS, TARGET_BT) - before).abs().amax(
        dim=2
    ).min() > 1e-3  # at every place of every row
    for block in model.decoder.blocks:
        weight = block.cross.output.weight.clone()
        block.cross.output.weight.zero_()
        assert (model(SOURCE_BS, TARGET_BT) - before).abs().max() > 1e-3
        block.cross.output.weight.copy_(weight)


@torch.no_grad()
def test_a_decoder_block_attends_to_itself_then_to_the_source_then_feeds_forward():
    """In a post-norm block: x1 = N(x + self(x)); x2 = N(x1 + cross(x1, memory)); x3 = N(x2 + ffn(x2))."""
    model = build()
    memory = model.encode(SOURCE_BS)
    block, called = model.decoder.blocks[0], []
    inputs, outputs = {}, {}
    for name in ("attention", "cross", "ffn"):

        def record(_module, args, output, name=name):
            called.append(name)
            inputs[name], outputs[name] = args[0], output

        getattr(block, name).register_forward_hook(record)
    block.register_forward_hook(lambda _module, _args, output: outputs.update(block=output))
    model.hidden(TARGET_BT, memory)
    assert called == ["attention", "cross", "ffn"]
    close(inputs["attention"], model.decoder.embed(TARGET_BT))
    close(inputs["cross"], block.attention_norm(inputs["attention"] + outputs["attention"]))
    close(inputs["ffn"], block.cross_norm(inputs["cross"] + outputs["cross"]))
    close(outputs["block"], block.ffn_norm(inputs["ffn"] + outputs["ffn"]))


@pytest.mark.parametrize("settings", POSITIONS)
@torch.no_grad()
def test_no_target_reaches_its_own_prediction_or_an_earlier_one(settings):
    """Position t is to predict target t from targets before it: neither t nor a later one may show."""
    model = build(**settings)
    before = model(SOURCE_BS, shift_right(TARGET_BT, start_id=0))
    for t in range(8):
        changed_BT = TARGET_BT.clone()
        changed_BT[:, t:] = (changed_BT[:, t:] + 7) % 40
        after = model(SOURCE_BS, shift_right(changed_BT, start_id=0))
        assert torch.equal(after[:, : t + 1], before[:, : t + 1])
        if t < 7:
            assert (after[:, t + 1] - before[:, t + 1]).abs().amax(1).min() > 1e-3


def test_without_the_shift_the_leak_shows():
    """The same test fails where the decoder reads the targets themselves."""
    model = build()
    changed_BT = TARGET_BT.clone()
    changed_BT[:, 3] = (changed_BT[:, 3] + 7) % 40
    assert (model(SOURCE_BS, changed_BT) - model(SOURCE_BS, TARGET_BT))[:, 3].abs().max() > 1e-3


def test_shifting_puts_the_start_token_first_and_drops_the_last():
    assert shift_right(torch.tensor([[5, 6, 7], [8, 9, 9]]), start_id=2).tolist() == [[2, 5, 6], [2, 8, 9]]


@pytest.mark.parametrize("settings", POSITIONS)
@torch.no_grad()
def test_padding_changes_nothing(settings):
    model = build(**settings)
    alone = [model(SOURCE_BS[row : row + 1, :S], TARGET_BT[row : row + 1, :T]) for row, S, T in
             ((0, 9, 5), (1, 4, 8), (2, 6, 6))]  # fmt: skip
    source = torch.arange(9) >= torch.tensor([[9], [4], [6]])
    target = torch.arange(8) >= torch.tensor([[5], [8], [6]])
    together = model(SOURCE_BS, TARGET_BT, -source.long(), -target.long())
    assert together.isfinite().all()
    for row, logits in enumerate(alone):
        close(together[row, : logits.shape[1]], logits[0])


@torch.no_grad()
def test_padding_to_the_left_of_a_source_changes_nothing_where_only_distances_count():
    model = build(position="relative")
    padded_BS = torch.cat((draw(3, 4, 5), SOURCE_BS), dim=1)
    documents_BS = -(torch.arange(13) < 4).long().expand(3, -1)
    close(model(padded_BS, TARGET_BT, documents_BS), model(SOURCE_BS, TARGET_BT))


@pytest.mark.parametrize("settings", POSITIONS)
@torch.no_grad()
def test_cached_decoding_equals_the_whole(settings):
    """Prefill and steps, with a source read once; the cache is as deep as the decoder."""
    model = build(**settings)
    documents_BS = -(torch.arange(9) >= torch.tensor([[9], [4], [6]])).long()
    whole = model(SOURCE_BS, TARGET_BT, documents_BS)
    reads = []
    model.encoder.register_forward_pre_hook(lambda *_: reads.append(1))
    for layer in model.decoder.cross_attentions():
        layer.key.register_forward_hook(lambda *_: reads.append(1))
    memory = model.encode(SOURCE_BS, documents_BS)
    cache = KeyValueCache(model.config, rows=3, capacity=8)
    assert cache.nbytes == 3 * 8 * cache_bytes_per_token(model.config)
    steps = [TARGET_BT[:, :4], *TARGET_BT[:, 4:].split(1, dim=1)]
    parts = [model.logits(model.hidden(step_BT, memory, cache)) for step_BT in steps]
    close(torch.cat(parts, dim=1), whole)
    assert len(reads) == 3, "each block's keys of the source are computed once"


@torch.no_grad()
def test_beyond_the_window_neither_side_goes():
    model = build()
    for source, target in ((draw(1, 25, 1), TARGET_BT[:1]), (SOURCE_BS[:1], draw(1, 25, 1))):
        with pytest.raises(RequestError, match="25 tokens do not fit this model's window of 24"):
            model(source, target)


# Its size.


@pytest.mark.parametrize(
    ("width", "heads", "ffn_width", "published"),
    [(512, 8, 2048, 65e6), (1024, 16, 4096, 213e6)],
    ids=["base", "big"],
)
def test_the_transformer_of_2017_has_the_size_that_its_settings_imply(width, heads, ffn_width, published):
    """arXiv 1706.03762, table 3 and section 5.1: 6 + 6 blocks and one table of about 37000 tokens for all three uses."""
    settings = {"style": "transformer", "vocab_size": 37_000, "width": width, "layers": 6, "heads": heads}
    config = CoreConfig.model_validate({**settings, "ffn_width": ffn_width})
    attention = 4 * (width * width + width)
    ffn = 2 * width * ffn_width + ffn_width + width
    encoder, decoder = attention + ffn + 2 * 2 * width, 2 * attention + ffn + 3 * 2 * width
    assert parameters(config) == 37_000 * width + 6 * encoder + 6 * decoder
    assert parameters(config) == pytest.approx(published, rel=0.03)
    assert (config.embedding_scale, config.norm_placement, config.activation) == (width**0.5, "post", "relu")


@pytest.mark.parametrize("tied", [True, False])
def test_scaled_embeddings_begin_with_values_of_unit_size(tied):
    """arXiv 1706.03762, 3.4: what is looked up is multiplied by sqrt(width); the head reads the table as it is."""
    torch.manual_seed(0)
    settings = {"style": "transformer", "vocab_size": 500, "width": 64, "layers": 1, "heads": 4, "tied": tied}
    model = Seq2Seq(CoreConfig.model_validate(settings))
    assert model.encoder.embed.token.weight.std().item() == pytest.approx(1 / 8, rel=0.05)
    assert model.head.weight.std().item() == pytest.approx(1 / 8 if tied else 0.02, rel=0.05)
    assert (model.head.weight is model.encoder.embed.token.weight) == tied
    assert model.decoder.embed.token is model.encoder.embed.token


# It learns.


def reversed_batch(rows, length, generator):
    """Digits 3 .. 12, and the same backwards; 0 pads, 1 starts, 2 ends."""
    source_BS = torch.randint(3, 13, (rows, length), generator=generator)
    end_B1 = torch.full((rows, 1), 2)
    return source_BS, torch.cat((source_BS.flip(1), end_B1), dim=1)


@torch.no_grad()
def greedy(model, source_BS, steps):
    memory = model.encode(source_BS)
    cache = KeyValueCache(model.config, source_BS.shape[0], steps)
    last_B1, made = torch.ones_like(source_BS[:, :1]), []
    for _ in range(steps):
        last_B1 = model.logits(model.hidden(last_B1, memory, cache)).argmax(-1)
        made.append(last_B1)
    return torch.cat(made, dim=1)


def train(model, steps, generator):
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, betas=(0.9, 0.98))
    warmup = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 100))
    model.train()
    for _ in range(steps):
        source_BS, target_BT = reversed_batch(64, 4, generator)
        logits_BTV = model(source_BS, shift_right(target_BT, start_id=1))
        optimizer.zero_grad()
        F.cross_entropy(logits_BTV.flatten(0, 1), target_BT.flatten()).backward()
        optimizer.step()
        warmup.step()
    return model.eval()


def test_it_learns_to_say_a_text_backwards():
    """What cannot be done without the source, without order, or with a target that is not shifted."""
    torch.manual_seed(2)
    generator = torch.Generator().manual_seed(2)
    settings = {
        "style": "transformer",
        "vocab_size": 13,
        "width": 32,
        "layers": 1,
        "heads": 4,
        "ffn_width": 64,
    }
    model = train(Seq2Seq(CoreConfig.model_validate(settings)), 400, generator)
    source_BS, target_BT = reversed_batch(200, 4, generator)
    assert (greedy(model, source_BS, 5) == target_BT).all(1).float().mean() > 0.95
