"""What a model sees of a record, for people."""

import numpy as np

from finetuning import tiny
from hanlin.base.records import Dialogue, Turn
from hanlin.batches.answers import Answers, render_dialogues
from hanlin.batches.labelled import LabelledTexts
from hanlin.tasks.look import seen_rows
from hanlin.tokenizer.bpe import train_bpe
from hanlin.tokenizer.chat import ChatTemplate
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.saving import save_tokenizer
from hanlin.tokenizer.tokenizer import Tokenizer


def bytes_alone(tmp_path):
    """A tokenizer that knows no Chinese character: each is three tokens."""
    save_tokenizer(train_bpe(["plain words only"] * 9, TokenizerConfig(vocab_size=270)), "bpe", tmp_path)
    return Tokenizer.load(tmp_path)


def test_only_the_answer_is_learned_and_characters_are_whole(tmp_path):
    tokenizer = bytes_alone(tmp_path)
    turns = (Turn(role="user", content="问"), Turn(role="assistant", content="很好"))
    fitted = render_dialogues([Dialogue(messages=turns)], ChatTemplate(tokenizer), 200)
    (row,) = seen_rows(Answers(fitted, tokenizer.pad_id), [0], tokenizer, tiny("llama").config)
    learned = [one.text for one in row.tokens if one.role == "learned"]
    assert learned[:2] == ["很", "好"]
    assert "问" in [one.text for one in row.tokens if one.role == "read"]
    whole = tokenizer.decode(fitted.rendered[0].ids, skip_special=False)
    assert whole.startswith("".join(one.text for one in row.tokens))


def test_a_class_is_named(tmp_path):
    tokenizer = bytes_alone(tmp_path)
    examples = LabelledTexts([tokenizer.encode_single("好 word")], np.array([1]), tokenizer.pad_id)
    config = tiny(head="classify", label_names=("bad", "good")).config
    (row,) = seen_rows(examples, [0], tokenizer, config)
    assert row.target == "good"
    assert "好" in [one.text for one in row.tokens]
    assert all(one.role == "read" for one in row.tokens)
