"""Masks filled one by one and together: against the model, `transformers`, an exhaustive search, and on Chinese text."""

import pytest
import tokenizers
import torch
import transformers
from tokenizers import AddedToken, decoders, models, pre_tokenizers, processors

from hanlin.base.errors import CheckpointError, RequestError
from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.checkpoint.folder import save_model
from hanlin.generate.embedding import load_encoder
from hanlin.model.config import CoreConfig
from hanlin.model.encoder import Encoder
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.saving import save_tokenizer
from hanlin.tokenizer.tokenizer import Tokenizer
from hanlin.tokenizer.wordpiece import train_wordpiece
from tiny import scatter

TEXT = "The scholars of the academy read histories in 1723. 翰林院的学士们读史书，学而时习之。\n"


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A model of ours with a WordPiece vocabulary of both languages, small enough to look at all pairs of tokens."""
    path = tmp_path_factory.mktemp("bert")
    save_tokenizer(
        train_wordpiece([TEXT] * 4, TokenizerConfig(model="wordpiece", vocab_size=300, on_small="shrink")),
        "wordpiece",
        path,
    )
    tokenizer = Tokenizer.load(path)
    shape = {"style": "bert", "width": 32, "layers": 2, "heads": 4, "window": 40, "head": "masked"}
    model = scatter(Encoder(CoreConfig.model_validate({**shape, "vocab_size": tokenizer.vocab_size})))
    save_model(path / "model", model, tokenizer, GenerationDefaults(), {}, {})
    return path / "model"


@pytest.fixture(scope="module")
def roberta(tmp_path_factory):
    """A model of theirs whose mask token takes the blank before it."""
    path = tmp_path_factory.mktemp("roberta")
    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    rust = tokenizers.Tokenizer(models.BPE({name: id for id, name in enumerate(names + letters)}, []))
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    rust.decoder = decoders.ByteLevel()
    rust.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    special = dict(zip(["bos", "pad", "eos", "unk", "mask"], names, strict=True))
    theirs = transformers.RobertaTokenizerFast(
        tokenizer_object=rust, add_prefix_space=False, cls_token="<s>", sep_token="</s>",
        **{f"{role}_token": name for role, name in special.items() if role != "mask"},
        mask_token=AddedToken("<mask>", lstrip=True, special=True),
    )  # fmt: skip
    config = transformers.RobertaConfig(
        vocab_size=len(names) + 256, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
        max_position_embeddings=50, pad_token_id=1, bos_token_id=0, eos_token_id=2, type_vocab_size=1,
    )  # fmt: skip
    scatter(transformers.RobertaForMaskedLM(config)).save_pretrained(path)
    theirs.save_pretrained(path)
    return path


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("bert", "The scholars [MASK] histories [MASK] 1723."),
        ("bert", "翰林院的[MASK]士们读[MASK]书。"),
        ("bert", "[MASK] 学而时习之"),
        ("roberta", "The <mask> of the <mask> read <mask>, 翰林<mask>。"),
        ("roberta", "<mask>read it <mask>"),
    ],
)
def test_guesses_are_those_of_transformers(kind, text, request):
    folder = request.getfixturevalue(kind)
    expected = transformers.pipeline("fill-mask", str(folder), top_k=5)(text)
    expected = expected if isinstance(expected[0], list) else [expected]
    found = load_encoder(folder, "cpu").fill(text, 5)
    assert len(found) == text.count("[MASK]") + text.count("<mask>")
    for mine, theirs in zip(found, expected, strict=True):
        assert [guess.id for guess in mine] == [guess["token"] for guess in theirs]
        for guess, other in zip(mine, theirs, strict=True):
            assert guess.probability == pytest.approx(other["score"], abs=1e-5)


def test_all_masks_together_are_filled_by_the_likeliest_of_all_pairs(bert):
    encoder, text = load_encoder(bert, "cpu"), "翰林院的[MASK]士们 read [MASK]"
    V, mask = encoder.tokenizer.vocab_size, encoder.tokenizer.mask_id
    found = encoder.fill_together(text, k=6, beams=V)
    ids = encoder.tokenizer.encode_single(text.replace("[MASK]", "1")).ids
    first, second = (place for place, id in enumerate(ids) if [id] == encoder.tokenizer.encode("1"))
    ids[first] = ids[second] = mask
    with torch.no_grad():
        first_V = encoder.model(torch.tensor([ids]))[0, first].softmax(0)
        rows = torch.tensor([[*ids[:first], id, *ids[first + 1 :]] for id in range(V)])
        second_VV = encoder.model(rows)[:, second].softmax(1)
    both_VV = first_V.unsqueeze(1) * second_VV
    ranked = [divmod(place, V) for place in both_VV.flatten().argsort(descending=True)[:6].tolist()]
    assert [tuple(guess.id for guess in one.guesses) for one in found] == ranked
    for one, (a, b) in zip(found, ranked, strict=True):
        assert [guess.probability for guess in one.guesses] == pytest.approx(
            [float(first_V[a]), float(second_VV[a, b])], abs=1e-5
        )
        assert one.probability == pytest.approx(float(both_VV[a, b]), abs=1e-5)
        filled = [*ids[:first], a, *ids[first + 1 : second], b, *ids[second + 1 :]]
        assert one.text == encoder.tokenizer.decode(filled)


def test_fewer_ways_than_asked_are_all_of_them_and_one_mask_is_as_by_itself(bert):
    encoder, text = load_encoder(bert, "cpu"), "读[MASK]书"
    V = encoder.tokenizer.vocab_size
    together = encoder.fill_together(text, k=V + 5, beams=1)
    (alone,) = encoder.fill(text, V)
    assert [one.guesses[0].id for one in together] == [guess.id for guess in alone]
    assert sum(one.probability for one in together) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("text", "k", "en", "zh"),
    [
        ("读史书", 5, "holds no [MASK]", "没有 [MASK]"),
        ("读[MASK]书" * 30, 5, "do not fit", "窗口"),
        ("读[MASK]书", 0, "k = 0 must be 1 or more", "k = 0 应不小于 1"),
    ],
)
def test_texts_that_cannot_be_filled(bert, text, k, en, zh):
    encoder = load_encoder(bert, "cpu")
    for fill in (encoder.fill, encoder.fill_together):
        with pytest.raises(RequestError) as error:
            fill(text, k)
        assert en in error.value.problem.en
        assert zh in error.value.problem.zh


def test_a_model_without_a_masked_head_says_so():
    try:
        encoder = load_encoder("all-minilm-l6-v2", "cpu")
    except CheckpointError:
        pytest.skip("the package of all-minilm-l6-v2 is not installed")
    with pytest.raises(
        RequestError, match="all-minilm-l6-v2 was not made to fill masks: it has no masked"
    ) as error:
        encoder.fill("Paris is the [MASK] of France.")
    assert "掩码语言模型头" in error.value.problem.zh
