"""Adapters: identity at first, only they train, rows of one batch each through their own."""

import copy
import threading

import pytest
import torch
import torch.nn.functional as F

from hanlin.base.device import Compute
from hanlin.base.errors import ConfigError, RequestError
from hanlin.generate.engine import Engine
from hanlin.generate.parameters import SamplingParameters
from hanlin.generate.torch_runner import TorchRunner
from hanlin.model.adapters.adapters import Adapters
from hanlin.model.adapters.config import LoraConfig, PrefixConfig, PromptConfig
from hanlin.model.adapters.layer import AdaptedLinear
from hanlin.model.adapters.table import training_table
from hanlin.model.assemble import build_model
from hanlin.model.cache import KeyValueCache
from hanlin.model.config import CoreConfig
from hanlin.tokenizer.bpe import save_trained, train_bpe
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.tokenizer import Tokenizer

KINDS = {
    "lora": LoraConfig(rank=4),
    "rslora": LoraConfig(rank=4, rslora=True),
    "dora": LoraConfig(rank=4, dora=True),
}
ASSEMBLIES = {
    "decoder": {"style": "llama", "kv_heads": 2},
    "experts": {"style": "llama", "experts": 3, "experts_per_token": 2},
    "encoder": {"style": "bert", "head": "tag", "labels": 3},
    "seq2seq": {"style": "transformer"},
}


def build(**settings):
    shape = {"vocab_size": 50, "width": 16, "layers": 2, "heads": 4, "ffn_width": 24, "window": 32}
    torch.manual_seed(0)
    model = build_model(CoreConfig.model_validate({**shape, "tied": False, **settings}))
    scatter(model)
    return model.eval()


def scatter(model):
    """Every parameter that trains, moved far from where it began."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.2)


def ids(rows, length, seed=1):
    return torch.randint(50, (rows, length), generator=torch.Generator().manual_seed(seed))


def run(model, tokens_BT):
    """Logits; an encoder-decoder writes what it reads."""
    with torch.no_grad():
        return model(tokens_BT, tokens_BT) if model.config.assembly == "seq2seq" else model(tokens_BT)


@pytest.mark.parametrize("assembly", ASSEMBLIES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_fresh_adapter_is_the_identity_bit_for_bit(assembly, kind):
    model = build(**ASSEMBLIES[assembly])
    before = run(model, ids(2, 8))
    adapters = Adapters(model)
    adapters.add("a", KINDS[kind])
    adapters.active = "a"
    assert torch.equal(run(model, ids(2, 8)), before)
    scatter(model)
    assert (run(model, ids(2, 8)) - before).abs().max() > 0.01


@pytest.mark.parametrize("assembly", ASSEMBLIES)
@pytest.mark.parametrize("kind", KINDS)
def test_merged_equals_unmerged_and_unmerging_gives_the_base_back(assembly, kind):
    model = build(**ASSEMBLIES[assembly])
    own = {name: parameter.clone() for name, parameter in model.named_parameters()}
    adapters = Adapters(model)
    adapters.add("a", KINDS[kind])
    scatter(model)
    adapters.active = "a"
    beside = run(model, ids(2, 8))
    adapters.merge("a")
    torch.testing.assert_close(run(model, ids(2, 8)), beside, atol=1e-5, rtol=0)
    adapters.unmerge()
    assert torch.equal(run(model, ids(2, 8)), beside)
    adapters.merge("a")
    adapters.detach()
    torch.testing.assert_close(run(model, ids(2, 8)), beside, atol=1e-5, rtol=0)
    parameters = dict(model.named_parameters())
    assert parameters.keys() == own.keys()
    assert all(parameter.requires_grad for parameter in parameters.values())
    assert not any(isinstance(module, AdaptedLinear) for module in model.modules())
    assert not torch.equal(parameters[next(n for n in own if "query.weight" in n)], own[next(n for n in own if "query.weight" in n)])  # fmt: skip


def test_detaching_without_merging_gives_the_base_back():
    model = build()
    before, names = run(model, ids(2, 8)), list(dict(model.named_parameters()))
    adapters = Adapters(model)
    adapters.add("a", LoraConfig())
    adapters.add("p", PromptConfig(length=3))
    adapters.add("x", PrefixConfig(length=3))
    scatter(model)
    adapters.active = "a"
    adapters.detach()
    assert torch.equal(run(model, ids(2, 8)), before)
    assert list(dict(model.named_parameters())) == names


def test_a_head_that_shares_the_embedding_is_not_merged():
    model = build(style="gpt2", tied=True)
    adapters = Adapters(model)
    adapters.add("a", LoraConfig(layers=("head",)))
    with pytest.raises(ConfigError, match="shares its weights with the embedding"):
        adapters.merge("a")
    adapters.add("p", PromptConfig(length=2))
    with pytest.raises(ConfigError, match="soft prompt"):
        adapters.merge("p")


def test_scaling_is_that_of_the_papers():
    model = build()
    adapters = Adapters(model)
    adapters.add("lora", LoraConfig(layers=("attention.query",), rank=9, alpha=18, ranks={"blocks.1.attention.query": 4}))  # fmt: skip
    adapters.add("rs", LoraConfig(layers=("attention.query",), rank=9, alpha=18, rslora=True))
    scalings = [change.scaling for change in adapters.changes("lora").values()]
    assert scalings == [18 / 9, 18 / 4]
    assert [change.scaling for change in adapters.changes("rs").values()] == [6.0, 6.0]


def test_dora_trains_direction_and_magnitude_apart():
    """m (W + s B A) / ||W + s B A||: the length of each row is m, whatever B A is."""
    model = build()
    adapters = Adapters(model)
    adapters.add("a", LoraConfig(layers=("attention.query",), dora=True))
    scatter(model)
    layer = model.blocks[0].attention.query
    change = adapters.changes("a")["blocks.0.attention.query"]
    weight, _ = change.merged(layer)
    torch.testing.assert_close(weight.norm(dim=1), change.magnitude_O.abs())
    changed = layer.weight + change.scaling * change.up_OR @ change.down_RI
    torch.testing.assert_close(F.cosine_similarity(weight, changed).abs(), torch.ones(16))


@pytest.mark.parametrize("assembly", ASSEMBLIES)
def test_rows_of_a_batch_go_each_through_their_own_adapter(assembly):
    model = build(**ASSEMBLIES[assembly])
    adapters = Adapters(model)
    adapters.add("a", LoraConfig(rank=2))
    adapters.add("b", LoraConfig(rank=5, dora=True, layers=("attention.value", "experts.up" if assembly == "experts" else "ffn.up")))  # fmt: skip
    scatter(model)
    tokens_BT, names = ids(5, 7), ["a", None, "b", "a", "b"]
    with adapters.rows(names):
        together = run(model, tokens_BT)
    alone = []
    for row, name in enumerate(names):
        with adapters.rows([name]):
            alone.append(run(model, tokens_BT[row : row + 1]))
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=0)
    with adapters.rows(["a", "b"]), pytest.raises(AssertionError, match="not chosen for 5 rows"):
        run(model, tokens_BT)
    base = run(model, tokens_BT)
    torch.testing.assert_close(together[1], base[1], atol=1e-6, rtol=0)
    assert all((together[row] - base[row]).abs().max() > 0.01 for row in (0, 2, 3, 4))


@pytest.mark.parametrize("assembly", ["decoder", "experts", "seq2seq"])
def test_prefixes_of_several_lengths_share_a_batch_with_lora_and_base(assembly):
    model = build(**ASSEMBLIES[assembly])
    adapters = Adapters(model)
    adapters.add("short", PrefixConfig(length=2))
    adapters.add("long", PrefixConfig(length=5))
    adapters.add("lora", LoraConfig())
    scatter(model)
    tokens_BT, names = ids(4, 6), ["short", "lora", "long", None]
    with adapters.rows(names):
        together = run(model, tokens_BT)
    for row, name in enumerate(names):
        with adapters.rows([name]):
            torch.testing.assert_close(
                together[row : row + 1], run(model, tokens_BT[row : row + 1]), atol=1e-5, rtol=0
            )
    assert (together[0] - run(model, tokens_BT)[0]).abs().max() > 0.01


@pytest.mark.parametrize("position", ["rotary", "learned", "alibi", "relative", "sinusoidal", "none"])
@pytest.mark.parametrize("window", [None, 4])
def test_a_prefix_is_like_words_read_before_with_and_without_a_cache(position, window):
    sparse = {"attention": ("sliding", "full"), "attention_window": window} if window else {}
    model = build(position=position, **sparse)
    adapters = Adapters(model)
    words, tokens_BT = [7, 3, 11, 5, 9], ids(2, 6)
    adapters.add("x", PrefixConfig(length=5), words=words)
    read_before = run(model, torch.cat((torch.tensor([words] * 2), tokens_BT), dim=1))[:, 5:]
    with adapters.rows(["x", "x"]):
        torch.testing.assert_close(run(model, tokens_BT), read_before, atol=1e-5, rtol=0)
    cache = KeyValueCache(model.config, 2, 32)
    with adapters.rows(["x", None]):
        step_1 = model(tokens_BT[:, :4], cache=cache)
        step_2 = model(tokens_BT[:, 4:], cache=cache)
    torch.testing.assert_close(torch.cat((step_1, step_2), 1)[0], read_before[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.cat((step_1, step_2), 1)[1], run(model, tokens_BT)[1], atol=1e-5, rtol=0)
    assert cache.lengths_B.tolist() == [11, 6]


@pytest.mark.parametrize("sparse", [{}, {"attention": ("sliding",), "attention_window": 4}])
def test_packed_documents_each_come_after_the_prefix(sparse):
    model = build(position="alibi", **sparse)
    adapters = Adapters(model)
    adapters.add("x", PrefixConfig(length=3))
    scatter(model)
    adapters.active = "x"
    tokens_1T = ids(1, 9)
    documents_1T = torch.tensor([[0, 0, 0, 0, 1, 1, 1, -1, -1]])
    positions_1T = torch.tensor([[0, 1, 2, 3, 0, 1, 2, 0, 1]])
    with torch.no_grad():
        packed = model(tokens_1T, positions_1T, documents_1T)
    torch.testing.assert_close(packed[:, :4], run(model, tokens_1T[:, :4]), atol=1e-5, rtol=0)
    torch.testing.assert_close(packed[:, 4:7], run(model, tokens_1T[:, 4:7]), atol=1e-5, rtol=0)


def test_a_long_sparse_pass_sees_the_prefix():
    """Long passes leave out blocks of keys that no query sees: the prefix is not among them."""
    model = build(layers=1, window=1200, attention=("sliding",), attention_window=900)
    adapters = Adapters(model)
    adapters.add("x", PrefixConfig(length=3))
    scatter(model)
    tokens_1T = ids(1, 1100)
    documents_1T = (torch.arange(1100) >= 550).long().unsqueeze(0)
    positions_1T = torch.cat((torch.arange(550), torch.arange(550))).unsqueeze(0)
    adapters.active = "x"
    with torch.no_grad():
        packed = model(tokens_1T, positions_1T, documents_1T)
    torch.testing.assert_close(packed[:, 550:], run(model, tokens_1T[:, 550:]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_a_prompt_is_ids_before_the_input(scale):
    model = build(embedding_scale=scale)
    adapters = Adapters(model)
    words = [7, 3]
    adapters.add("p", PromptConfig(length=5), words=words)
    assert adapters.prompt_ids("p") == [50, 51, 52, 53, 54]
    before = torch.tensor([[7, 3, 7, 3, 7]] * 2)
    virtual = torch.tensor([adapters.prompt_ids("p")] * 2)
    tokens_BT = ids(2, 6)
    expected = run(model, torch.cat((before, tokens_BT), 1))
    torch.testing.assert_close(run(model, torch.cat((virtual, tokens_BT), 1)), expected, atol=1e-5, rtol=0)
    adapters.add("q", PromptConfig(length=2))
    scatter(model)
    adapters.remove("p")
    assert adapters.prompt_ids("q") == [55, 56]
    assert run(model, torch.tensor([[55, 56, 1]])).isfinite().all()
    with pytest.raises(AssertionError):
        run(model, torch.tensor([[50, 1]]))


def test_an_encoder_reads_prompts_but_no_prefix():
    model = build(**ASSEMBLIES["encoder"])
    adapters = Adapters(model)
    adapters.add("p", PromptConfig(length=2))
    assert run(model, torch.tensor([[*adapters.prompt_ids("p"), 4, 5]])).shape == (1, 4, 3)
    with pytest.raises(ConfigError, match="encoder"):
        adapters.add("x", PrefixConfig(length=2))
    assert list(adapters.configs) == ["p"]


def test_a_prefix_of_an_encoder_decoder_cannot_begin_as_words():
    adapters = Adapters(build(**ASSEMBLIES["seq2seq"]))
    with pytest.raises(ConfigError, match="cannot begin as words"):
        adapters.add("a", PrefixConfig(length=3), [1, 2])
    adapters.add("a", PrefixConfig(length=3))
    assert run(adapters.model, ids(2, 4)).isfinite().all()


def test_threads_choose_for_themselves():
    model = build()
    adapters = Adapters(model)
    adapters.add("a", LoraConfig())
    scatter(model)
    base, chosen = run(model, ids(2, 5)), threading.Event()
    seen, done = [], threading.Event()

    def other():
        chosen.wait()
        seen.append(run(model, ids(2, 5)))
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    with adapters.rows(["a", "a"]):
        chosen.set()
        done.wait()
        here = run(model, ids(2, 5))
    thread.join()
    assert torch.equal(seen[0], base)
    assert not torch.equal(here, base)


def test_a_copied_model_chooses_for_itself():
    model = build()
    adapters = Adapters(model)
    adapters.add("a", LoraConfig())
    scatter(model)
    base = run(model, ids(1, 5))
    other = copy.deepcopy(model)
    adapters.active = "a"
    assert torch.equal(run(other, ids(1, 5)), base)
    assert not torch.equal(run(model, ids(1, 5)), base)


def test_a_base_in_bfloat16():
    model = build().bfloat16()
    before = run(model, ids(2, 6))
    adapters = Adapters(model)
    for name, kind in KINDS.items():
        adapters.add(name, kind)
        adapters.active = name
        assert torch.equal(run(model, ids(2, 6)), before)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert {parameter.dtype for parameter in trained} == {torch.float32}
    loss = model(ids(2, 6)).square().mean()
    loss.backward()
    assert all(parameter.grad is not None for name, parameter in model.named_parameters() if ".dora." in name)


def test_table_of_what_trains():
    model = build()
    whole = sum(parameter.numel() for parameter in model.parameters())
    adapters = Adapters(model)
    adapters.add("a", LoraConfig(layers=("attention.query",), rank=4, whole=("head",)))
    table = training_table(model)
    assert [(row.module, row.name, row.shape) for row in table.rows] == [
        ("blocks.0.attention.query.changes.a", "down_RI", (4, 16)),
        ("blocks.0.attention.query.changes.a", "up_OR", (16, 4)),
        ("blocks.1.attention.query.changes.a", "down_RI", (4, 16)),
        ("blocks.1.attention.query.changes.a", "up_OR", (16, 4)),
        ("head.changes.a", "weight", (50, 16)),
    ]
    assert table.trained == 4 * 64 + 800
    assert table.parameters == whole + table.trained
    assert sum(row.share for row in table.rows) == pytest.approx(table.trained / table.parameters)
    lines = str(table).splitlines()
    assert lines[1].split() == ["blocks.*.attention.query.changes.a", "down_RI", "4", "x", "16", "2", "128", f"{128 / table.parameters:.3%}"]  # fmt: skip
    assert len(lines) == 6


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"layers": ("atention.query",)}, "did you mean attention.query"),
        ({"layers": ("q_proj",)}, "No linear layer's name ends in q_proj"),
        ({"layers": ("uery",)}, "No linear layer's name ends in uery"),
        ({"blocks": (0, 7)}, "blocks.7"),
        ({"ranks": {"ffn.upp": 3}}, "did you mean ffn.up"),
        ({"whole": ("haed",)}, "did you mean head"),
    ],
)
def test_layers_that_are_not_there(wrong, match):
    adapters = Adapters(build())
    with pytest.raises(ConfigError, match=match) as error:
        adapters.add("a", LoraConfig(**wrong))
    assert any("\u4e00" <= letter <= "\u9fff" for letter in error.value.problem.zh)
    assert adapters.configs == {}


def test_layers_by_name():
    model = build(**ASSEMBLIES["experts"])
    adapters = Adapters(model)
    adapters.add("one", LoraConfig(layers=("blocks.1.attention.key", "experts.2.down")))
    assert list(adapters.changes("one")) == [
        "blocks.0.ffn.experts.2.down",
        "blocks.1.attention.key",
        "blocks.1.ffn.experts.2.down",
    ]
    adapters.add("all", LoraConfig(blocks=(1,)))
    names = list(adapters.changes("all"))
    assert len(names) == 4 + 3 * 3
    assert all(name.startswith("blocks.1.") and "router" not in name for name in names)


def test_names_of_adapters():
    model = build()
    adapters = Adapters(model)
    adapters.add("a", LoraConfig())
    for name in ("a", "", "a.b", "train", "keys", "../x"):
        with pytest.raises(ConfigError):
            adapters.add(name, LoraConfig())
    for wrong in (
        lambda: adapters.remove("b"),
        lambda: adapters.rows(["a", "b"]),
        lambda: adapters.merge("b"),
    ):
        with pytest.raises(RequestError, match="There is no adapter b; there are: a"):
            wrong()
    with pytest.raises(ConfigError, match="leave no room"):
        adapters.add("p", PromptConfig(length=32))


def test_adapters_come_and_go():
    model = build()
    base = run(model, ids(2, 5))
    adapters = Adapters(model)
    adapters.add("a", LoraConfig())
    scatter(model)
    adapters.active = "a"
    changed = run(model, ids(2, 5))
    adapters.add("b", LoraConfig(dora=True))
    adapters.remove("b")
    assert torch.equal(run(model, ids(2, 5)), changed)
    adapters.remove("a")
    assert adapters.active is None
    assert torch.equal(run(model, ids(2, 5)), base)
    assert training_table(model).rows == ()


@pytest.mark.parametrize(
    "config",
    [LoraConfig(), LoraConfig(dora=True), PromptConfig(length=4), PrefixConfig(length=4)],
    ids=["lora", "dora", "prompt", "prefix"],
)
def test_an_adapter_learns_while_the_base_stays_byte_for_byte(config):
    """LoRA learns to say the id after the last one; a soft prompt, which moves a random base less, to say 7."""
    model, tokens_BT = build(), ids(8, 6)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    adapters = Adapters(model)
    adapters.add("a", config)
    adapters.active = "a"
    target_B = (tokens_BT[:, -1] + 1) % 50 if isinstance(config, LoraConfig) else torch.full((8,), 7)
    virtual = torch.tensor([adapters.prompt_ids("a")] * 8, dtype=torch.long).view(8, -1)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.02)
    right = []
    for _ in range(60):
        logits_BV = model(torch.cat((virtual, tokens_BT), 1))[:, -1]
        right.append(int((logits_BV.argmax(-1) == target_B).sum()))
        F.cross_entropy(logits_BV, target_B).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert right[0] < 2
    assert right[-1] == 8
    after = dict(model.named_parameters())
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert all(after[name].requires_grad == (name not in before) for name in after)


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    save_trained(
        train_bpe(["the scholars read the histories 翰林院"] * 4, TokenizerConfig(vocab_size=280)), folder
    )
    tokenizer = Tokenizer.load(folder)
    model = build(vocab_size=290, window=48)
    adapters = Adapters(model)
    adapters.add("lora", LoraConfig())
    adapters.add("prompt", PromptConfig(length=3))
    adapters.add("prefix", PrefixConfig(length=4))
    scatter(model)
    compute = Compute(torch.device("cpu"), torch.float32)
    return Engine(TorchRunner(model, compute, adapters=adapters), tokenizer)


def finish(engine, generations):
    while engine.busy:
        engine.step()
    return [generation.token_ids for generation in generations]


def test_greedy_text_in_a_mixed_batch_equals_that_alone(engine):
    greedy = SamplingParameters(temperature=0, max_new_tokens=12, repetition_penalty=1.3)
    names = [None, "lora", "prompt", "prefix", "lora", None]
    prompts = [engine.tokenizer.encode(text) for text in ("the", "the", "the", "the", "翰林", "read the")]
    together = finish(engine, [engine.submit(ids, greedy, adapter=name) for ids, name in zip(prompts, names, strict=True)])  # fmt: skip
    alone = [finish(engine, [engine.submit(ids, greedy, adapter=name)])[0] for ids, name in zip(prompts, names, strict=True)]  # fmt: skip
    assert together == alone
    assert len({tuple(text) for text in together[:4]}) == 4


def test_the_window_counts_what_an_adapter_takes(engine):
    prompt = engine.tokenizer.encode("the scholars")
    most = SamplingParameters(temperature=0, max_new_tokens=10_000)
    for name, taken in (("prompt", 3), ("prefix", 4), ("lora", 0), (None, 0)):
        generation = engine.submit(prompt, most, adapter=name)
        assert generation.limit == 48 - taken - len(prompt)
        finish(engine, [generation])
        assert generation.finish_reason in ("length", "stop")


def test_requests_for_adapters_that_are_not_there(engine):
    with pytest.raises(RequestError, match="There is no adapter law; there are: lora, prompt, prefix"):
        engine.submit([1], SamplingParameters(), adapter="law")
    plain = Engine(TorchRunner(engine.runner.model, engine.runner.compute), engine.tokenizer)
    with pytest.raises(RequestError, match="this model has none"):
        plain.submit([1], SamplingParameters(), adapter="lora")


def test_an_adapter_that_is_removed_ends_its_requests_only(engine):
    engine.adapters.add("brief", LoraConfig())
    gone = engine.submit([1, 2], SamplingParameters(temperature=0, max_new_tokens=6), adapter="brief")
    stays = engine.submit([1, 2], SamplingParameters(temperature=0, max_new_tokens=6))
    engine.step()
    engine.adapters.remove("brief")
    finish(engine, [])
    assert gone.finish_reason == "cancelled"
    assert stays.finish_reason in ("length", "stop")


def test_an_adapter_that_is_replaced_under_its_name_ends_its_requests(engine):
    engine.adapters.add("brief", LoraConfig())
    gone = engine.submit([1, 2], SamplingParameters(temperature=0, max_new_tokens=6), adapter="brief")
    engine.step()
    engine.adapters.remove("brief")
    engine.adapters.add("brief", LoraConfig())
    finish(engine, [])
    engine.adapters.remove("brief")
    assert gone.finish_reason == "cancelled"
