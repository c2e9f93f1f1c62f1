"""Sources and targets as rows: frames, padding, prefixes, what is cut, and the loss of what is written."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tokenizers import processors

from finetuning import every_row, gradients, same, tiny
from hanlin.base.errors import DataError
from hanlin.batches.batch import IGNORE
from hanlin.batches.written import Asking, WrittenTexts, joint, shortened, source_encodings, target_ids
from hanlin.objective.written import WritingLoss
from hanlin.tokenizer.bpe import save_trained, train_bpe
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.framing import Encoding
from hanlin.tokenizer.tokenizer import Tokenizer

TEXTS = ["a red dog, ein roter Hund\n", "一只红色的狗\n"]


def load(folder, frame=None):
    trained = train_bpe(TEXTS * 4, TokenizerConfig(vocab_size=290))
    if frame is not None:
        ends = [("<|endoftext|>", 0), ("<|im_start|>", 2)]
        trained.post_processor = processors.TemplateProcessing(single=frame, special_tokens=ends)
    save_trained(trained, folder)
    return Tokenizer.load(folder)


def encoding(*ids):
    return Encoding(list(ids), [0] * len(ids), [0] * len(ids), cut=0)


def written(sources, targets, **settings):
    given = {"start_id": 1, "pad_id": 0, "window": 8, **settings}
    return WrittenTexts([encoding(*ids) for ids in sources], targets, **given)


@pytest.mark.parametrize(
    ("frame", "begin"),
    [(None, []), ("$A <|endoftext|>", []), ("<|im_start|> $A <|endoftext|>", [2])],
    ids=["ours", "T5 and Marian", "BART"],
)
def test_a_target_ends_in_its_end_token_and_begins_as_the_family_has_it(tmp_path, frame, begin):
    tokenizer = load(tmp_path, frame)
    said = target_ids(["ein roter Hund", "一只狗"], tokenizer)
    plain = [tokenizer.encode("ein roter Hund"), tokenizer.encode("一只狗")]
    assert said == [[*begin, *ids, tokenizer.eos_id] for ids in plain]
    (source,) = source_encodings(["ein roter Hund"], tokenizer, 100)
    assert source.ids == tokenizer.encode_single("ein roter Hund").ids


def test_rows_are_padded_behind_and_read_one_place_later():
    batch = every_row(written([[5, 6, 7], [8]], [[9, 2], [3, 4, 2]]))
    assert batch.source_BS.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert batch.source_documents_BS.tolist() == [[0, 0, 0], [0, -1, -1]]
    assert batch.targets_BT.tolist() == [[9, 2, IGNORE], [3, 4, 2]]
    assert batch.read_BT.tolist() == [[1, 9, 0], [1, 3, 4]]
    assert every_row(written([[5], [8]], [[9, 2], [3, 2]])).source_documents_BS is None
    assert every_row(written([[5], [8]], [[9, 2], [3, 2]], prefix=[20, 21])).source_BS.tolist() == [
        [20, 21, 5],
        [20, 21, 8],
    ]


def test_targets_that_do_not_fit_are_left_out_and_named():
    examples = written([[5], [6], [7]], [[3] * 8, [3] * 9, [3]], places=["a:1", "a:2", "a:3"])
    assert (len(examples), examples.left_out, examples.sizes.tolist()) == (2, ("a:2",), [9, 2])
    with pytest.raises(DataError, match="No record fits into 8 tokens"):
        written([[6]], [[3] * 9])


def test_the_loss_is_that_of_the_targets_and_does_not_depend_on_the_batch():
    model = tiny("transformer")
    examples = written([[5, 6, 7], [8], [9, 10]], [[9, 2], [3, 4, 2], [5, 2]])
    whole, objective = every_row(examples), WritingLoss()
    assert objective.count(whole) == 7
    parts = [every_row(examples, [row]) for row in range(3)]
    same(gradients(model, objective, [whole]), gradients(model, objective, parts))
    same(gradients(model, objective, [whole]), gradients(model, objective, whole.split(2)))
    with torch.no_grad():
        by_hand = 0.0
        for source, target in (([5, 6, 7], [9, 2]), ([8], [3, 4, 2]), ([9, 10], [5, 2])):
            logits = model(torch.tensor([source]), torch.tensor([[1, *target[:-1]]]))[0]
            by_hand += float(F.cross_entropy(logits, torch.tensor(target), reduction="sum"))
        assert float(objective.loss(model, whole)) == pytest.approx(by_hand, abs=1e-4)
        smooth = WritingLoss(label_smoothing=0.1)
        assert float(smooth.loss(model, whole)) == pytest.approx(by_hand, abs=1e-4), "only while training"
        assert abs(float(smooth.loss(model.train(), whole)) - by_hand) > 0.01


def test_between_prompt_and_answer_stands_a_space_but_not_beside_chinese():
    assert [joint(prompt, answer) for prompt, answer in
            (("Answer:", "red"), ("答案：", "red"), ("Answer:", "红"), ("Answer: ", "red"), ("Answer:\n", "red"), ("", "red"))
            ] == [" ", "", "", "", "", ""]  # fmt: skip


def test_a_text_is_shortened_no_more_than_it_must_be(tmp_path):
    tokenizer = load(tmp_path)
    text = "a red dog, 一只红色的狗, ein roter Hund"
    ids, _ = tokenizer.encode_spans(text)
    for room in range(6, len(ids) + 3):
        short, cut = shortened(text, tokenizer, lambda some: len(tokenizer.encode(some)) + 5, room)
        assert text.startswith(short)
        assert len(tokenizer.encode(short)) + 5 <= room or room >= len(ids) + 5
        assert cut >= max(0, len(ids) + 5 - room)
        assert cut <= max(0, len(ids) + 5 - room) + 2, "a token that is cut through may cost another"
    assert shortened(text, tokenizer, lambda some: len(some) + 100, 90) is None
    assert shortened(text, tokenizer, len, 1000) == (text, 0)


def test_the_ids_of_a_prompt_begin_what_is_learned(tmp_path):
    from hanlin.tokenizer.chat import ChatTemplate

    tokenizer = load(tmp_path)
    for chat in (None, ChatTemplate(tokenizer)):
        asking = Asking(tokenizer, chat, [("a red dog =", "ein roter Hund")])
        rendered = asking.answered("a dog =", "一只狗")
        prompt = asking.prompt_ids("a dog =")
        assert rendered.ids[: len(prompt)] == prompt
        assert not any(rendered.loss_mask[: len(prompt)])
        answer = asking.answer_ids("a dog =", "一只狗")
        said = np.array(rendered.ids)[np.array(rendered.loss_mask, bool)].tolist()
        assert said[: len(answer)] == answer
        assert said[len(answer) :] in ([tokenizer.eos_id], [tokenizer.token_id("<|im_end|>")])
        assert asking.is_chat == (chat is not None)
