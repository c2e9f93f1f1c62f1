"""BERT, RoBERTa and ModernBERT against `transformers`, both ways, on tiny random weights in float32."""

import json
import shutil

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import BertConfig, ModernBertConfig, RobertaConfig

from hanlin.base.device import Compute
from hanlin.base.errors import CheckpointError
from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.checkpoint.folder import open_model, save_model
from hanlin.checkpoint.recognize import read_config
from hanlin.generate.embedding import load_encoder
from hanlin.model.config import CoreConfig
from hanlin.model.encoder import Encoder
from hanlin.tokenizer.bpe import save_trained, train_bpe
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.saving import save_tokenizer
from hanlin.tokenizer.tokenizer import Tokenizer
from hanlin.tokenizer.wordpiece import train_wordpiece

CPU = Compute(torch.device("cpu"), torch.float32)
TEXT = "The scholars read histories in 1723: 翰林院的学士们读史书。\n"
PAD = 1
LENGTHS = (24, 9)
REAL_BT = torch.arange(24) < torch.tensor(LENGTHS)[:, None]
IDS_BT = torch.randint(3, 300, (2, 24), generator=torch.Generator().manual_seed(1)).where(REAL_BT, PAD)
SEGMENTS_BT = (torch.arange(24) >= torch.tensor([10, 4])[:, None]).long() * REAL_BT

SHAPE = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4,
         "intermediate_size": 48, "max_position_embeddings": 64, "pad_token_id": PAD}  # fmt: skip
CONFIGS = {"Bert": BertConfig, "Roberta": RobertaConfig, "ModernBert": ModernBertConfig}
EXTRA = {"Bert": {}, "Roberta": {}, "ModernBert": {"local_attention": 8, "eos_token_id": 0, "bos_token_id": 0,
         "cls_token_id": 0, "sep_token_id": 0}}  # fmt: skip

MODELS = {
    **{
        f"{family}{head}": (family, head, {})
        for family in CONFIGS
        for head in (
            "Model",
            "ForMaskedLM",
            "ForSequenceClassification",
            "ForTokenClassification",
            "ForQuestionAnswering",
        )
    },
    "BertForPreTraining": ("Bert", "ForPreTraining", {}),
    "BertForMaskedLM, untied": ("Bert", "ForMaskedLM", {"tie_word_embeddings": False}),
    "RobertaForMaskedLM, untied": ("Roberta", "ForMaskedLM", {"tie_word_embeddings": False}),
    "ModernBertForMaskedLM, untied": ("ModernBert", "ForMaskedLM", {"tie_word_embeddings": False}),
    "BertModel, other": ("Bert", "Model", {"hidden_act": "relu", "layer_norm_eps": 1e-2}),
    "Bert, one number": ("Bert", "ForSequenceClassification", {"num_labels": 1}),
    "Roberta, one number": ("Roberta", "ForSequenceClassification", {"num_labels": 1}),
    "ModernBert, one number": ("ModernBert", "ForSequenceClassification", {"num_labels": 1}),
    "ModernBert, mean": (
        "ModernBert",
        "ForSequenceClassification",
        {"classifier_pooling": "mean", "num_labels": 5},
    ),
    "ModernBert, biases": (
        "ModernBert",
        "ForMaskedLM",
        {"attention_bias": True, "mlp_bias": True, "classifier_bias": True, "norm_bias": True},
    ),
    "ModernBert, all full": ("ModernBert", "Model", {"layer_types": ["full_attention"] * 3}),
}


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    save_trained(train_bpe([TEXT] * 4, TokenizerConfig(vocab_size=280)), folder)
    return Tokenizer.load(folder)


def scatter(model):
    """Weights far from zero and norms far from one, so that a mistake in any of them shows."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
    return model.eval()


@pytest.fixture
def theirs(tokenizer, tmp_path):
    """Saves a model of `transformers` with our tokenizer's files."""

    def theirs(name, **settings):
        family, head, more = MODELS[name]
        config = CONFIGS[family](**{**SHAPE, **EXTRA[family], **more, **settings})
        config.pad_token_id = PAD
        model = scatter(getattr(transformers, f"{family}{head}")(config))
        model.save_pretrained(tmp_path / "theirs")
        tokenizer.save(tmp_path / "theirs")
        return model, tmp_path / "theirs"

    return theirs


@pytest.fixture
def ours(tokenizer, tmp_path):
    def ours(name="ours", **settings):
        shape = {
            "style": "bert",
            "vocab_size": 300,
            "width": 32,
            "layers": 3,
            "heads": 4,
            "ffn_width": 48,
            "window": 64,
        }
        if settings.get("position_offset"):
            settings["position_offset"] = tokenizer.pad_id + 1
        model = scatter(Encoder(CoreConfig.model_validate({**shape, **settings})))
        save_model(tmp_path / name, model, tokenizer, GenerationDefaults(), {}, {})
        return model, tmp_path / name

    return ours


def close(a, b):
    torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


def damage(folder, change):
    """Change the tensors of a folder of theirs."""
    save_file(
        change(load_file(folder / "model.safetensors")),
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )


def edit(folder, **values):
    path = folder / "config.json"
    kept = {
        name: value for name, value in {**json.loads(path.read_text()), **values}.items() if value is not ...
    }
    path.write_text(json.dumps(kept))


def run_theirs(model, ids_BT, segments_BT, real_BT, positions_BT=None):
    """Everything that a model of theirs says: hidden states of every layer, logits, pooled vectors."""
    said = {"input_ids": ids_BT, "attention_mask": real_BT.long(), "output_hidden_states": True}
    if not isinstance(model.config, ModernBertConfig) and model.config.type_vocab_size > 1:
        said["token_type_ids"] = segments_BT
    if positions_BT is not None:
        said["position_ids"] = positions_BT
    with torch.no_grad():
        return model(**said)


@torch.no_grad()
def run_ours(model, ids_BT, segments_BT, real_BT, positions_BT=None):
    """The residual stream before every block and after the last, and what the head says."""
    stream = []
    hooks = [
        block.register_forward_pre_hook(lambda _, given: stream.append(given[0])) for block in model.blocks
    ]
    hooks.append(model.blocks[-1].register_forward_hook(lambda _, given, out: stream.append(out)))
    segments_BT = segments_BT if model.config.segments > 1 else None
    documents_BT = real_BT.long() - 1
    said = model(ids_BT, positions_BT, documents_BT, segments_BT=segments_BT)
    hidden = model.hidden(ids_BT, positions_BT, documents_BT, segments_BT=segments_BT)
    for hook in hooks:
        hook.remove()
    return said, hidden, stream[: len(model.blocks) + 1]


def compare(
    model, expected, ids_BT=IDS_BT, segments_BT=SEGMENTS_BT, real_BT=REAL_BT, positions_BT=None, table=None
):
    """Every layer, the last hidden state, pooled vectors and logits agree wherever there is a token."""
    said, hidden_BTC, stream = run_ours(model, ids_BT, segments_BT, real_BT, positions_BT)
    out = run_theirs(expected, ids_BT, segments_BT, real_BT, table)
    assert len(out.hidden_states) == len(stream)
    last = out.hidden_states[-1][real_BT]
    for mine, their in zip(stream[:-1], out.hidden_states, strict=False):
        close(mine[real_BT], their[real_BT])
    # Theirs shows the last state of a pre-norm model after its norm where the bare model is within another one.
    close(min((stream[-1], hidden_BTC), key=lambda x: float((x[real_BT] - last).abs().max()))[real_BT], last)
    if "last_hidden_state" in out:
        close(hidden_BTC[real_BT], out.last_hidden_state[real_BT])
        if out.get("pooler_output") is not None:
            close(model.pooled(hidden_BTC, real_BT.long() - 1), out.pooler_output)
        return
    if "prediction_logits" in out:
        close(said[real_BT], out.prediction_logits[real_BT])
        close(model.next_sentence_logits(hidden_BTC, real_BT.long() - 1), out.seq_relationship_logits)
        return
    if model.config.head == "span":
        said, logits = said[real_BT], torch.stack((out.start_logits, out.end_logits), -1)[real_BT]
    elif model.config.head in ("masked", "tag"):
        said, logits = said[real_BT], out.logits[real_BT]
    else:
        logits = out.logits.squeeze(-1) if model.config.head == "regress" else out.logits
    assert said.shape == logits.shape
    close(said, logits)


def refusal(folder):
    with pytest.raises(CheckpointError) as caught:
        open_model(folder, CPU)
    return str(caught.value.problem.en)


# Theirs opens in ours.


@pytest.mark.parametrize("name", MODELS)
def test_theirs_in_ours(theirs, name):
    model, folder = theirs(name)
    opened, _, _ = open_model(folder, CPU)
    compare(opened, model)


@pytest.mark.parametrize(
    "name", ["BertModel", "RobertaModel", "ModernBertModel", "Bert, one number", "ModernBert, mean"]
)
def test_padding_on_the_left(theirs, name):
    """Positions count from the first token, which theirs is told (RoBERTa's counts them itself)."""
    model, folder = theirs(name)
    opened, _, _ = open_model(folder, CPU)
    shift = 24 - LENGTHS[1]
    ids_BT, segments_BT, real_BT = (
        torch.stack((x[0], x[1].roll(shift))) for x in (IDS_BT, SEGMENTS_BT, REAL_BT)
    )
    positions_BT = (real_BT.cumsum(1) - 1).clamp(min=0)
    table = None if isinstance(model.config, RobertaConfig) else positions_BT
    if opened.config.pooling == "first" and opened.config.head == "regress":
        model.bert.register_forward_hook(_pool_first_token(model, real_BT))
    if isinstance(model, transformers.BertModel | transformers.RobertaModel):
        model.pooler = None  # it takes the first column, which is padding here
    compare(opened, model, ids_BT, segments_BT, real_BT, positions_BT, table)


def _pool_first_token(model, real_BT):
    """Theirs takes the first column, which is padding here."""

    def repool(_, given, out):
        first = out.last_hidden_state[torch.arange(len(real_BT)), real_BT.int().argmax(1)]
        out.pooler_output = model.bert.pooler(first.unsqueeze(1))
        return out

    return repool


@pytest.mark.parametrize("length", [4, 5, 6, 40, 64])
def test_sliding_layers_beyond_their_window(theirs, length):
    """local_attention 8 is 4 tokens to each side: 5 with itself. Lengths below, at and far beyond it."""
    model, folder = theirs("ModernBertForMaskedLM", num_hidden_layers=7)
    opened, _, _ = open_model(folder, CPU)
    assert opened.config.attention == ("full", "sliding", "sliding")
    assert (opened.config.rope_theta, opened.config.rope_theta_local) == (160000.0, 10000.0)
    assert opened.config.attention_window == 5
    ids_BT = torch.randint(3, 300, (2, length), generator=torch.Generator().manual_seed(2))
    compare(opened, model, ids_BT, torch.zeros_like(ids_BT), torch.ones_like(ids_BT, dtype=torch.bool))


@pytest.mark.parametrize(
    "change", [{"attention_window": 6}, {"rope_theta_local": 1e5}, {"attention": ("full",)}]
)
def test_what_sliding_layers_see_matters(theirs, change):
    """The comparison above can fail."""
    model, folder = theirs("ModernBertModel")
    opened, _, _ = open_model(folder, CPU)
    other = Encoder(opened.config.model_copy(update=change))
    other.load_state_dict(opened.state_dict())
    with pytest.raises(AssertionError):
        compare(other.eval(), model)


def test_segments_and_positions_matter(theirs):
    model, folder = theirs("BertModel")
    opened, _, _ = open_model(folder, CPU)
    out = run_theirs(model, IDS_BT, SEGMENTS_BT, REAL_BT).last_hidden_state
    documents_BT = REAL_BT.long() - 1
    with torch.no_grad():
        without = opened.hidden(IDS_BT, None, documents_BT)
        swapped = opened.hidden(IDS_BT, torch.arange(24).flip(0), documents_BT, segments_BT=SEGMENTS_BT)
    assert min((x[REAL_BT] - out[REAL_BT]).abs().max() for x in (without, swapped)) > 0.01


def test_roberta_begins_after_its_padding(theirs):
    model, folder = theirs("RobertaModel")
    _, config = read_config(folder)
    assert (config.position_offset, config.window) == (PAD + 1, 64 - PAD - 1)
    opened, _, _ = open_model(folder, CPU)
    assert opened.embed.position.weight.shape == model.embeddings.position_embeddings.weight.shape


# What published checkpoints look like.


def with_prefix(prefix, inside):
    """Add or remove the prefix of the bare model."""

    def change(tensors):
        if any(name.startswith(prefix) for name in tensors):
            return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
        return {
            prefix + name if name.startswith(inside) else name: tensor for name, tensor in tensors.items()
        }

    return change


@pytest.mark.parametrize(
    ("name", "prefix", "inside"),
    [
        ("BertModel", "bert.", ("embeddings.", "encoder.", "pooler.")),
        ("BertForMaskedLM", "bert.", ()),
        ("RobertaModel", "roberta.", ("embeddings.", "encoder.", "pooler.")),
        ("ModernBertModel", "model.", ("embeddings.", "layers.", "final_norm.")),
    ],
)
def test_with_and_without_the_prefix(theirs, name, prefix, inside):
    model, folder = theirs(name)
    damage(folder, with_prefix(prefix, inside))
    compare(open_model(folder, CPU)[0], model)


def test_bert_as_it_was_first_published_opens(theirs, capsys):
    """gamma and beta, tables of positions, a tied head stored again; and both pre-training heads in a file that
    calls itself BertForMaskedLM."""
    model, folder = theirs("BertForPreTraining")

    def old(tensors):
        word, bias = tensors["bert.embeddings.word_embeddings.weight"], tensors["cls.predictions.bias"]
        tensors = {
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
                "LayerNorm.bias", "LayerNorm.beta"
            ): tensor
            for name, tensor in tensors.items()
        }
        return tensors | {
            "bert.embeddings.position_ids": torch.arange(64)[None],
            "cls.predictions.decoder.weight": word.clone(),
            "cls.predictions.decoder.bias": bias.clone(),
        }

    damage(folder, old)
    edit(folder, architectures=["BertForMaskedLM"])
    opened, _, _ = open_model(folder, CPU)
    assert opened.config.head == "pretraining"
    compare(opened, model)
    damage(folder, lambda t: {**t, "cls.predictions.decoder.weight": t["cls.predictions.decoder.weight"] + 1})
    assert "cls.predictions.decoder.weight shares the weights of" in refusal(folder)
    assert "not used" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["BertForTokenClassification", "RobertaForSequenceClassification", "RobertaForMaskedLM"]
)
def test_a_pooler_that_the_head_does_not_use_is_named(theirs, capsys, name):
    model, folder = theirs(name)
    base = model.base_model_prefix
    damage(folder, lambda t: {**t, f"{base}.pooler.dense.weight": torch.ones(32, 32)})
    compare(open_model(folder, CPU)[0], model)
    said = capsys.readouterr().err.replace("\n", "")
    assert f"not used by this model: {base}.pooler.dense.weight" in said


def test_a_bare_model_without_pooler(theirs):
    for name, pooler in (("BertModel", "pooler."), ("RobertaModel", "pooler.")):
        model, folder = theirs(name)
        assert open_model(folder, CPU)[0].config.pooler == "tanh"
        damage(folder, lambda t, pooler=pooler: {n: v for n, v in t.items() if not n.startswith(pooler)})
        model.pooler = None
        opened, _, _ = open_model(folder, CPU)
        assert opened.config.pooler == "none"
        compare(opened, model)


def test_a_config_without_architectures_is_bare(theirs):
    model, folder = theirs("BertModel")
    edit(folder, architectures=...)
    compare(open_model(folder, CPU)[0], model)


def test_modernbert_as_it_was_first_published_opens(theirs):
    model, folder = theirs("ModernBertForMaskedLM")
    edit(folder, layer_types=..., rope_parameters=..., global_attn_every_n_layers=3, global_rope_theta=160000.0,
         local_rope_theta=10000.0)  # fmt: skip
    compare(open_model(folder, CPU)[0], model)


# Labels.


def test_labels_keep_their_names(theirs, ours):
    names = ["O", "B-人", "I-人"]
    _, folder = theirs("BertForTokenClassification", id2label=dict(enumerate(names)))
    assert read_config(folder)[1].label_names == tuple(names)
    _, folder = ours(head="tag", label_names=names)
    config = transformers.AutoConfig.from_pretrained(folder)
    assert config.id2label == dict(enumerate(names))
    assert config.label2id == {name: id for id, name in enumerate(names)}
    _, folder = theirs("BertForTokenClassification", num_labels=4)
    assert (read_config(folder)[1].labels, read_config(folder)[1].label_names) == (4, ())


@pytest.mark.parametrize(
    ("values", "head", "multi"),
    [
        ({"num_labels": 3, "problem_type": "multi_label_classification"}, "classify", True),
        ({"num_labels": 3, "problem_type": "single_label_classification"}, "classify", False),
        ({"num_labels": 1, "problem_type": "regression"}, "regress", False),
        ({"num_labels": 1}, "regress", False),
    ],
)
def test_problem_type(theirs, ours, values, head, multi):
    _, folder = theirs("BertForSequenceClassification", **values)
    _, config = read_config(folder)
    assert (config.head, config.multi_label) == (head, multi)
    settings = {"labels": config.labels, "multi_label": multi} if head == "classify" else {}
    _, folder = ours(head=head, **settings)
    assert read_config(folder)[0].name == "bert"
    written = transformers.AutoConfig.from_pretrained(folder)
    assert written.num_labels == values["num_labels"]
    assert written.problem_type == values.get("problem_type", "regression")


# Ours opens in theirs.

OURS = {
    "BertForMaskedLM": {},
    "BertForMaskedLM, untied": {"tied": False},
    "BertForPreTraining": {"head": "pretraining"},
    "BertForSequenceClassification": {"head": "classify", "labels": 4},
    "BertForSequenceClassification, number": {"head": "regress"},
    "BertForTokenClassification": {"head": "tag", "labels": 5},
    "BertForQuestionAnswering": {"head": "span"},
    "BertModel": {"head": "none", "pooler": "tanh"},
    "BertModel, one segment": {"head": "none", "pooler": "tanh", "segments": 1, "norm_eps": 1e-3},
    "RobertaForMaskedLM": {"position_offset": 1},
    "RobertaForMaskedLM, untied": {"position_offset": 1, "tied": False},
    "RobertaForSequenceClassification": {"position_offset": 1, "head": "classify", "labels": 4},
    "RobertaForTokenClassification": {"position_offset": 1, "head": "tag", "labels": 5},
    "RobertaForQuestionAnswering": {"position_offset": 1, "head": "span"},
    "RobertaModel": {"position_offset": 1, "head": "none", "pooler": "tanh"},
}
MODERN = {"style": "llama", "assembly": "encoder", "norm": "layer", "norm_bias": False, "embedding_norm": True,
          "activation": "gelu", "head_bias": True, "attention": ("full", "sliding", "sliding"), "attention_window": 5,
          "rope_theta": 777.0, "rope_theta_local": 99.0, "rope_scaling": None}  # fmt: skip
OURS |= {
    "ModernBertForMaskedLM": MODERN,
    "ModernBertForMaskedLM, no bias": {**MODERN, "tied": False, "head_bias": False},
    "ModernBertForSequenceClassification": {
        **MODERN,
        "head": "classify",
        "labels": 3,
        "pooler": "transform",
        "pooling": "mean",
    },
    "ModernBertForTokenClassification": {
        **MODERN,
        "head": "tag",
        "labels": 3,
        "pooler": "transform",
        "bias": True,
    },
    "ModernBertForQuestionAnswering": {**MODERN, "head": "span", "pooler": "transform"},
    "ModernBertModel": {**MODERN, "head": "none", "rope_theta_local": None},
}


@pytest.mark.parametrize("name", OURS)
def test_ours_in_theirs(ours, tokenizer, tmp_path, name):
    encoder, folder = ours(**OURS[name])
    kind = getattr(transformers, name.split(",")[0])
    model, info = kind.from_pretrained(folder, output_loading_info=True)
    assert not any(info[which] for which in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    ids_BT = torch.randint(3, 300, (2, 24), generator=torch.Generator().manual_seed(3))
    ids_BT = ids_BT.masked_fill(ids_BT == tokenizer.pad_id, 3)
    compare(encoder, model.eval(), ids_BT)
    # theirs saves it again, and ours reads that: the same model
    model.save_pretrained(tmp_path / "again")
    tokenizer.save(tmp_path / "again")
    again, _, _ = open_model(tmp_path / "again", CPU)
    assert again.config == encoder.config
    for (name, parameter), other in zip(encoder.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(parameter, other), name


@pytest.mark.parametrize("name", [*OURS, "BertModel, no pooler"])
def test_saving_what_was_loaded_gives_the_same_bytes(ours, tmp_path, name):
    settings = OURS.get(name, {"head": "none"})
    encoder, folder = ours(**settings)
    family, config = read_config(folder)
    assert name.startswith({"bert": "Bert", "roberta": "Roberta", "modernbert": "ModernBert"}[family.name])
    loaded, tokenizer, defaults = open_model(folder, CPU)
    assert loaded.config == config == encoder.config
    save_model(tmp_path / "again", loaded, tokenizer, defaults, {}, {})
    files = sorted(path.name for path in folder.iterdir())
    assert files == sorted(path.name for path in (tmp_path / "again").iterdir())
    for file in files:
        assert (folder / file).read_bytes() == (tmp_path / "again" / file).read_bytes(), file


def test_tensors_have_the_names_that_theirs_writes(theirs, tmp_path):
    for name in ("BertModel", "RobertaForSequenceClassification", "ModernBertForMaskedLM", "ModernBertModel"):
        _, folder = theirs(name)
        opened, tokenizer, defaults = open_model(folder, CPU)
        save_model(tmp_path / "again", opened, tokenizer, defaults, {}, {}, read_config(folder)[0])
        saved = load_file(tmp_path / "again" / "model.safetensors")
        original = load_file(folder / "model.safetensors")
        assert saved.keys() == original.keys()
        assert all(torch.equal(saved[key], original[key]) for key in saved)
        shutil.rmtree(tmp_path / "again")


@pytest.mark.parametrize(
    "settings",
    [
        {"embedding_norm": False}, {"segments": 0}, {"pooling": "mean", "head": "classify", "labels": 2},
        {"pooler": "none", "head": "regress"}, {"kv_heads": 2}, {"qkv_bias": False},
        {"head": "classify", "labels": 1},
        {"position_offset": 1, "activation": "relu"}, {"head": "classify", "labels": 2, "pooler": "transform"},
    ],
)  # fmt: skip
def test_what_no_family_can_express_is_written_as_ours(ours, settings):
    encoder, folder = ours(**settings)
    family, config = read_config(folder)
    assert (family.name, config) == ("hanlin", encoder.config)
    opened, _, _ = open_model(folder, CPU)
    for (name, parameter), other in zip(encoder.named_parameters(), opened.parameters(), strict=True):
        assert torch.equal(parameter, other), name


def test_roberta_with_another_padding_is_not_written_as_roberta(tokenizer, tmp_path):
    """Theirs would count positions past every token of the wrong number."""
    config = CoreConfig.model_validate(
        {"style": "bert", "vocab_size": 300, "width": 16, "position_offset": tokenizer.pad_id + 2}
    )
    save_model(tmp_path / "m", Encoder(config), tokenizer, GenerationDefaults(), {}, {})
    assert read_config(tmp_path / "m")[0].name == "hanlin"


# Text to result: WordPiece, pairs, segments, truncation, padding, and sentence vectors.

PAIRS = [
    ("The scholars read histories.", "Who reads?"),
    ("翰林院", "学士们读史书，学士们读史书，学士们读史书。"),
    ("Histories in 1723: " + "the scholars read " * 9, "read the histories of " * 7),
    ("a", "b"),
]


@pytest.fixture
def wordpiece(tmp_path):
    """Saves a model of ours with a WordPiece tokenizer."""

    def wordpiece(**settings):
        trained = train_wordpiece(
            [TEXT] * 4, TokenizerConfig(model="wordpiece", vocab_size=300, on_small="shrink")
        )
        save_tokenizer(trained, "wordpiece", tmp_path)
        tokenizer = Tokenizer.load(tmp_path)
        shape = {
            "style": "bert",
            "vocab_size": tokenizer.vocab_size,
            "width": 32,
            "layers": 2,
            "heads": 4,
            "window": 40,
        }
        model = scatter(Encoder(CoreConfig.model_validate({**shape, **settings})))
        save_model(tmp_path / "model", model, tokenizer, GenerationDefaults(), {}, {})
        return tmp_path / "model"

    return wordpiece


def test_pairs_of_texts_are_judged_as_theirs_judges_them(wordpiece):
    folder = wordpiece(head="classify", labels=3)
    judge = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    batch = transformers.AutoTokenizer.from_pretrained(folder)(
        PAIRS, padding=True, truncation=True, max_length=40, return_tensors="pt"
    )
    model, tokenizer, _ = open_model(folder, CPU)
    inputs = tokenizer.encode_inputs(PAIRS, 40)
    assert inputs.cut_B.max() > 0
    assert inputs.ids_BT.tolist() == batch["input_ids"].tolist()
    documents_BT = torch.from_numpy(inputs.attended_BT).long() - 1
    with torch.no_grad():
        scores = model(
            torch.from_numpy(inputs.ids_BT),
            documents_BT=documents_BT,
            segments_BT=torch.from_numpy(inputs.segments_BT),
        )
        close(scores, judge(**batch).logits)


def test_sentence_vectors_are_the_mean_of_theirs(wordpiece):
    folder = wordpiece()
    texts = [text for pair in PAIRS for text in pair]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    batch = tokenizer(texts, padding=True, truncation=True, max_length=24, return_tensors="pt")
    with torch.no_grad():
        hidden_BTC = transformers.AutoModel.from_pretrained(folder).eval()(**batch).last_hidden_state
    real_BT1 = batch["attention_mask"].unsqueeze(2)
    expected_BC = torch.nn.functional.normalize((hidden_BTC * real_BT1).sum(1) / real_BT1.sum(1))
    embedded = load_encoder(folder, "cpu", normalize=True, max_tokens=24).embed(texts)
    close(torch.from_numpy(embedded.vectors_NC), expected_BC)
    assert embedded.cut == tuple(n for n, text in enumerate(texts) if len(tokenizer(text)["input_ids"]) > 24)
    assert 0 < len(embedded.cut) < len(texts)


def test_masks_are_filled_as_theirs_fills_them(wordpiece):
    folder = wordpiece()
    text = "The scholars [MASK] histories [MASK] 1723."
    expected = transformers.pipeline("fill-mask", str(folder), top_k=4)(text)
    found = load_encoder(folder, "cpu").fill(text, k=4)
    for mine, theirs in zip(found, expected, strict=True):
        assert [guess.id for guess in mine] == [guess["token"] for guess in theirs]
        for guess, other in zip(mine, theirs, strict=True):
            assert guess.probability == pytest.approx(other["score"], abs=1e-5)


# What cannot be opened says so.


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("BertModel", {"architectures": ["BertForMultipleChoice"]}, "class BertForMultipleChoice, which cannot"),
        ("BertModel", {"architectures": ["RobertaModel"]}, "class RobertaModel, which cannot"),
        ("RobertaModel", {"architectures": ["RobertaForPreTraining"]}, "class RobertaForPreTraining, which cannot"),
        ("BertModel", {"position_embedding_type": "relative_key"}, "sets position_embedding_type to"),
        ("BertModel", {"is_decoder": True}, "sets is_decoder to True"),
        ("BertModel", {"hidden_act": "mish"}, "sets hidden_act to 'mish'"),
        ("RobertaForMaskedLM", {"hidden_act": "relu"}, "sets hidden_act to 'relu'"),
        ("ModernBertModel", {"classifier_activation": "relu"}, "sets classifier_activation to 'relu'"),
        ("ModernBertModel", {"classifier_bias": True}, "sets classifier_bias to True"),
        ("ModernBertModel", {"layer_types": ["chunked_attention"] * 3}, "sets layer_types to 'chunked_attention'"),
        ("BertForSequenceClassification", {"problem_type": "ranking"}, "sets problem_type to 'ranking'"),
        ("BertForSequenceClassification", {"problem_type": "regression", "id2label": {"0": "a", "1": "b"}},
         "sets problem_type to 'regression'"),
        ("BertForSequenceClassification", {"id2label": {"1": "a", "2": "b"}}, "id2label names [1, 2]"),
        ("BertForMaskedLM", {"hidden_size": ...}, "'hidden_size' is missing"),
        ("BertForMaskedLM", {"architectures": ["BertForTokenClassification"]}, "missing: classifier.bias"),
    ],
)  # fmt: skip
def test_a_setting_that_we_do_not_have_is_refused(theirs, name, values, message):
    _, folder = theirs(name)
    edit(folder, **values)
    assert message in refusal(folder)
