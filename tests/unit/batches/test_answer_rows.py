"""Questions with contexts as rows: where the answer is, whatever the windows, and where there is none."""

import pytest

from finetuning import every_row
from hanlin.batches.answer_spans import BEGINS, ENDS, AnswerRows, Asked
from hanlin.batches.batch import IGNORE
from hanlin.tokenizer.bpe import train_bpe
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.saving import save_tokenizer
from hanlin.tokenizer.tokenizer import Tokenizer
from hanlin.tokenizer.wordpiece import train_wordpiece

LINES = ["Lu Xun was born in Shaoxing. Who was born where? ", "鲁迅生于绍兴，后来到北京。谁生于哪里？"] * 8
CONTEXT = "鲁迅生于绍兴，Lu Xun was born in Shaoxing，后来到北京。"


def saved(trained, model, folder):
    save_tokenizer(trained, model, folder)
    return Tokenizer.load(folder)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    settings = TokenizerConfig(model="wordpiece", vocab_size=300, on_small="shrink")
    return saved(train_wordpiece(LINES, settings), "wordpiece", tmp_path_factory.mktemp("answer-wordpiece"))


@pytest.fixture(scope="module")
def bpe(tmp_path_factory):
    settings = TokenizerConfig(vocab_size=300, on_small="shrink")
    return saved(train_bpe(LINES, settings), "bpe", tmp_path_factory.mktemp("answer-bpe"))


def asked(answer, question="谁生于绍兴？"):
    start = CONTEXT.index(answer)
    return Asked(question, CONTEXT, (start, start + len(answer)))


def told(rows):
    """Of each row the characters of the answer that its targets mark, or None where they say that there is none."""
    found = []
    for number, row in enumerate(rows.rows):
        (targets,) = every_row(rows, [number]).targets_BT.tolist()
        begins = [place for place, target in enumerate(targets) if target != IGNORE and target & BEGINS]
        ends = [place for place, target in enumerate(targets) if target != IGNORE and target & ENDS]
        assert len(begins) == len(ends) == 1
        if begins == [row.none]:
            found.append(None)
            continue
        first, last = (row.window.start + place - row.begin for place in (begins[0], ends[0]))
        found.append(CONTEXT[row.offsets[first][0] : row.offsets[last][1]])
    return found


@pytest.mark.parametrize("which", ["bert", "bpe"])
@pytest.mark.parametrize("answer", ["鲁迅", "绍兴", "Lu Xun", "Shaoxing", "北京"])
def test_the_answer_is_where_it_stands(which, answer, request):
    tokenizer = request.getfixturevalue(which)
    (whole,) = told(AnswerRows([asked(answer)], tokenizer, 256))
    assert whole == answer or (
        which == "bpe" and whole == "到北京"
    )  # one token, which the answer is a part of
    assert told(AnswerRows([Asked("谁？", CONTEXT)], tokenizer, 256)) == [None]
    narrow = AnswerRows([asked(answer)], tokenizer, 26, overlap=8)
    assert len(narrow) > 1
    assert set(told(narrow)) - {None} == {whole}
    assert max(narrow.sizes) <= 26
    owned = [place for row in narrow.rows for place in range(row.window.first, row.window.last)]
    assert owned == list(range(len(narrow.rows[0].offsets)))


def test_a_row_as_bert_reads_it(bert):
    rows = AnswerRows([asked("绍兴")], bert, 256)
    batch = every_row(rows)
    expected = bert.encode_pair("谁生于绍兴？", CONTEXT)
    assert batch.tokens_BT[0].tolist() == expected.ids
    assert batch.segments_BT[0].tolist() == expected.segment_ids
    question = [IGNORE] * (len(bert.encode("谁生于绍兴？")) + 1)
    targets = batch.targets_BT[0].tolist()
    assert targets[0] == 0
    assert targets[1 : 1 + len(question)] == question
    assert targets[-1] == IGNORE
    assert rows.rows[0].none == 0


def test_a_tokenizer_without_cls_has_its_end_between_and_after(bpe):
    rows = AnswerRows([asked("绍兴")], bpe, 256)
    ids = every_row(rows).tokens_BT[0].tolist()
    question, context = bpe.encode("谁生于绍兴？"), bpe.encode(CONTEXT)
    before = [*bpe.framed([question]).ids, bpe.eos_id]
    assert ids == [*before, *context, bpe.eos_id]
    assert (rows.rows[0].begin, rows.rows[0].none) == (len(before), len(ids) - 1)
    assert every_row(rows).segments_BT is None


def test_a_long_question_leaves_half_of_the_row_and_is_counted(bert):
    rows = AnswerRows([asked("绍兴", "谁生于哪里" * 20)], bert, 33)
    assert max(rows.sizes) == 33
    assert rows.lengths.cut_records == len(rows)
    assert rows.rows[0].begin == 1 + 15 + 1


def test_a_context_without_tokens_has_no_row(bert):
    rows = AnswerRows([Asked("谁？", " "), asked("绍兴")], bert, 64)
    assert [row.number for row in rows.rows] == [1]
