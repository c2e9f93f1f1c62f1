"""Objectives that do not fit a model, a tokenizer or each other are refused before anything runs."""

import re
from pathlib import Path

import pytest

from hanlin.base.errors import ConfigError
from hanlin.stages.checks import check_trainable
from hanlin.stages.fitting import FITS
from hanlin.stages.ladder import run_ladder
from hanlin.stages.objectives import build_mixture, is_language_model, needs_sentences, objective_configs
from hanlin.stages.plan import RandomTokens
from hanlin.stages.recipe import read_recipe

ENCODER = ("tokenizer.model=wordpiece", "model.style=bert")
PAIRS = (*ENCODER, "model.head=pretraining")
SIZES = ("model.width=16", "model.layers=1", "model.heads=1", "model.window=48", "tokenizer.vocab_size=900")


def recipe_of(folder: Path, *overrides: str):
    (folder / "texts").mkdir(exist_ok=True)
    (folder / "recipe.yaml").write_text(
        f"folder: {folder}/run\ncorpus: {{sources: [{folder}/texts]}}\n", "utf-8"
    )
    return read_recipe(folder / "recipe.yaml", (*SIZES, *overrides))


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("pretrain.objective=masked",), "masked does not fit .* decoder, head lm.*choose from causal, spans, prefix"),
        ((*ENCODER, "pretrain.objective=causal"), "causal does not fit .*choose from masked, permutation"),
        (("model.assembly=seq2seq", "pretrain.objective=prefix"), "prefix does not fit .*choose from spans"),
        (("model.assembly=encoder",), "masked needs the special tokens mask.*tokenizer.model to wordpiece or unigram|unigram or wordpiece"),
        (("model.style=bert", "model.head=pretraining", "tokenizer.model=unigram"), "needs the special tokens cls, sep.*wordpiece"),
        ((*PAIRS, "model.segments=0"), "model.segments=2"),
        ((*PAIRS, "pretrain.objective=masked"), "head pretraining judges pairs"),
        ((*PAIRS, "pretrain.mixture=[{kind: next-sentence}, {kind: sentence-order}]"), "by one of"),
        ((*ENCODER, "pretrain.objective=permutation", "model.attention=[sliding]", "model.attention_window=4"), "needs full attention"),
        (("pretrain.objective=spans", "pretrain.separate_documents=false"), "separate_documents does nothing"),
        ((*ENCODER, "evaluate.prompts=[a]"), "evaluate.prompts does nothing .*continues no text"),
        (("evaluate.pseudo_tokens=3",), "pseudo_tokens does nothing .*hides no tokens"),
        (("model.head=classify", "model.labels=2"), "causal does not fit .*for fine-tuning"),
    ],
)  # fmt: skip
def test_what_does_not_fit_says_what_does(tmp_path, overrides, said):
    recipe = recipe_of(tmp_path, *overrides)
    with pytest.raises(ConfigError, match=f"(?s){said}"):
        check_trainable(recipe)


@pytest.mark.parametrize(
    ("mixture", "said"),
    [
        ("[{kind: causal, mask_share: 0.3}]", "mask_share does nothing when kind is causal"),
        ("[{kind: masked, span_length: 4}]", "span_length does nothing when kind is masked"),
        ("[{kind: nonsense}]", "causal"),
        ("[{kind: spans, span_share: 1}]", "span_share"),
    ],
)
def test_options_without_effect_are_refused(tmp_path, mixture, said):
    with pytest.raises(ConfigError, match=said):
        recipe_of(tmp_path, f"pretrain.mixture={mixture}")


@pytest.mark.parametrize(
    ("overrides", "kind"),
    [((), "causal"), (ENCODER, "masked"), (PAIRS, "next-sentence"), (("model.assembly=seq2seq",), "spans")],
)
def test_each_model_has_a_default(tmp_path, overrides, kind):
    recipe = recipe_of(tmp_path, *overrides)
    assert [config.kind for config in objective_configs(recipe)] == [kind]
    assert is_language_model(recipe) == (kind == "causal")
    assert needs_sentences(recipe) == (kind == "next-sentence")


@pytest.mark.parametrize("kind", FITS)
def test_every_objective_is_wired_for_every_model_that_it_fits(tmp_path, kind):
    """Before there is a corpus or a tokenizer: this is what a plan tries out."""
    for assembly, head in FITS[kind]:
        kinds = [kind, "next-sentence"] if (kind, head) == ("masked", "pretraining") else [kind]
        mixture = "[" + ", ".join(f"{{kind: {name}}}" for name in kinds) + "]"
        style = "bert" if assembly == "encoder" else "transformer" if assembly == "seq2seq" else "llama"
        recipe = recipe_of(
            tmp_path, "tokenizer.model=wordpiece", f"model.style={style}", f"model.head={head}",
            "tokenizer.sentinels=10", f"pretrain.mixture={mixture}",
        )  # fmt: skip
        tokens = RandomTokens(900, 48, recipe.tokenizer.special.ids())
        for part in build_mixture(recipe, tokens, ("train", "train")).parts:
            batch = next(part.train.stream(0))
            assert batch.rows == recipe.pretrain.batch_rows
            assert part.objective.count(batch) > 0


def test_the_recipes_of_the_page_on_objectives_fit(tmp_path):
    page = (Path(__file__).parents[3] / "docs" / "objectives.md").read_text("utf-8")
    snippets = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert len(snippets) == len(FITS)
    seen = set()
    for snippet in snippets:
        (tmp_path / "recipe.yaml").write_text(
            f"folder: {tmp_path}/run\ncorpus: {{sources: [{tmp_path}/texts]}}\n{snippet}", "utf-8"
        )
        recipe = read_recipe(tmp_path / "recipe.yaml", ["tokenizer.vocab_size=900"])
        check_trainable(recipe)
        special = recipe.tokenizer.special.ids()
        tokens = RandomTokens(900, recipe.model.window, special)
        seen |= {part.name for part in build_mixture(recipe, tokens, ("train", "train")).parts}
    assert seen == FITS.keys() - {"sentence-order"}


def test_the_ladder_is_of_causal_models(tmp_path):
    with pytest.raises(ConfigError, match="this recipe trains masked"):
        run_ladder(recipe_of(tmp_path, *ENCODER))
