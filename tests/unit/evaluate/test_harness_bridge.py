"""lm-evaluation-harness through Hanlin: the answers of its own `hf` model on the same weights."""

import json

import pytest
import torch
import yaml

from hanlin.base.errors import MissingExtra, RequestError
from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.checkpoint.folder import save_model
from hanlin.generate.language_model import load
from hanlin.model.assemble import build_model
from hanlin.model.config import CoreConfig
from hanlin.tokenizer.bpe import save_trained, train_bpe
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.tokenizer import Tokenizer
from tiny import scatter

try:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    from hanlin.evaluate.harness import HanlinLM
    from hanlin.evaluate.harness_run import examine_by_harness
except ImportError:
    HanlinLM = None

needs_harness = pytest.mark.skipif(HanlinLM is None, reason="lm_eval is not installed")

WINDOW = 48
TEXTS = ["The scholars read the histories of the old academy.\n", "翰林院的学士们读史书，学而时习之。\n"]
LONG = TEXTS[0] * 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("harness")
    save_trained(train_bpe(TEXTS * 4, TokenizerConfig(vocab_size=300, on_small="shrink")), place / "bpe")
    tokenizer = Tokenizer.load(place / "bpe")
    torch.manual_seed(0)
    shape = {"vocab_size": tokenizer.vocab_size, "width": 32, "layers": 2, "heads": 2, "window": WINDOW}
    model = scatter(build_model(CoreConfig.model_validate(shape)))
    save_model(place / "tiny", model, tokenizer, GenerationDefaults(), {}, {})
    return place / "tiny"


@pytest.fixture(scope="module")
def both(folder):
    return HanlinLM(load(folder, "cpu")), HFLM(str(folder), device="cpu", dtype="float32", batch_size=3)


def requests(kind, arguments):
    return [Instance(kind, {}, one, number) for number, one in enumerate(arguments)]


def test_without_the_package_it_is_said():
    if HanlinLM is not None:
        pytest.skip("lm_eval is installed")
    with pytest.raises(MissingExtra, match=r"hanlin\[harness\]"):
        import hanlin.evaluate.harness  # noqa: F401


@needs_harness
def test_continuations_are_as_likely(both):
    """A blank at the end of a context, none at all, one that is too long, Chinese, names of special tokens."""
    ours, theirs = both
    end = ours.tokenizer.special_text(ours.tokenizer.eos_id)
    asked = requests(
        "loglikelihood",
        [
            ("The scholars", " read the histories"),
            ("The scholars ", "read"),
            ("The scholars  ", " read"),
            ("", "the old academy"),
            (LONG, " academy"),
            ("翰林院的", "学士们"),
            (f"old{end}", "academy"),
        ],
    )
    mine, other = (one.loglikelihood(asked, disable_tqdm=True) for one in both)
    assert [p for p, _ in mine] == pytest.approx([p for p, _ in other], abs=2e-4)
    assert [greedy for _, greedy in mine] == [greedy for _, greedy in other]
    for text in (LONG, f"a{end} b", "", " 翰林 "):
        assert ours.tok_encode(text) == theirs.tok_encode(text)


@needs_harness
def test_greedy_continuations_are_known_as_such(both):
    ours, _ = both
    ids = ours.tok_encode("The old")
    with torch.no_grad():
        likeliest = int(ours.model.decoder(torch.tensor([ids]))[0, -1].argmax())
    asked = [(None, ids, [likeliest]), (None, ids, [likeliest - 1])]
    assert [greedy for _, greedy in ours._loglikelihood_tokens(asked, disable_tqdm=True)] == [True, False]


@needs_harness
def test_conversations_are_rendered_alike(both):
    """Up to where the answer begins, or within an answer that is to be continued."""
    talk = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "学"},
        {"role": "user", "content": "b"},
    ]
    for history, begins in ((talk, True), (talk[:2], False)):
        mine, other = (one.apply_chat_template(history, add_generation_prompt=begins) for one in both)
        assert mine == other


@needs_harness
def test_whole_texts_are_as_likely(both):
    """Longer than the window, too."""
    asked = requests("loglikelihood_rolling", [(LONG,), (TEXTS[1],), ("a",)])
    mine, other = (one.loglikelihood_rolling(asked, disable_tqdm=True) for one in both)
    assert mine == pytest.approx(other, rel=1e-5)


@needs_harness
def test_texts_are_equal(both):
    """Greedy; up to a stop text or the most tokens; a context that is too long loses its beginning."""
    stop = {"until": ["a", "\n"], "max_gen_toks": 12}
    asked = requests(
        "generate_until",
        [
            ("The scholars", stop),
            (LONG, {"until": [], "max_gen_toks": 9}),
            ("翰林", {"until": "的", "max_gen_toks": 12}),
        ],
    )
    mine, other = (one.generate_until(asked, disable_tqdm=True) for one in both)
    assert mine == other
    assert any(mine)


@needs_harness
def test_what_the_model_cannot_do(both):
    ours, _ = both
    with pytest.raises(RequestError, match="window is 48"):
        ours.loglikelihood(requests("loglikelihood", [("a", LONG)]), disable_tqdm=True)
    with pytest.raises(RequestError, match="window is 48"):
        ours.generate_until(requests("generate_until", [("a", {"until": [], "max_gen_toks": 48})]))
    with pytest.raises(RequestError, match="num_beams"):
        ours.generate_until(
            requests("generate_until", [("a", {"until": [], "max_gen_toks": 4, "num_beams": 2})])
        )


@needs_harness
def test_a_task_file_becomes_an_examination(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    rows = [{"q": "The old", "choices": [" academy", " 翰林"], "right": number % 2} for number in range(6)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {
        "task": "tiny_choice",
        "dataset_path": "json",
        "dataset_kwargs": {
            "data_files": {"test": str(tmp_path / "rows.jsonl")},
            "cache_dir": str(tmp_path / "cache"),
        },
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{q}}",
        "doc_to_choice": "choices",
        "doc_to_target": "right",
        "metric_list": [{"metric": "acc"}],
    }
    (tmp_path / "tiny_choice.yaml").write_text(yaml.safe_dump(task))
    found = examine_by_harness(
        load(folder, "cpu"), [str(tmp_path / "tiny_choice.yaml")], 0, limit=4, resamples=100
    )
    one = found["tiny_choice"]
    assert (one.kind, one.method, one.n) == ("harness", "0-shot", 4)
    acc = next(figure for figure in one.figures if figure.name == "acc")
    assert acc.value == 0.5  # the same answer to every row, which every other row calls right
    assert acc.low < 0.5 < acc.high
