"""Multiple choice: likelihoods by hand, choices of unlike number and length, and that it is learned."""

import math

import numpy as np
import pytest
import torch

from finetuning import every_row, learn
from hanlin.base.errors import ConfigError, DataError
from hanlin.base.records import Question
from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.model.assemble import build_model
from hanlin.model.config import CoreConfig
from hanlin.objective.choice import MultipleChoice
from hanlin.tasks.choice import Choice, Chosen
from hanlin.tasks.opened import Opened
from hanlin.tokenizer.bpe import save_trained, train_bpe
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.tokenizer import Tokenizer
from tiny import CPU

QUESTIONS = [
    Question(question="the sky is", choices=("blue", "a red dog", "green"), right=0),
    Question(question="grass is", choices=("blue", "green grass"), right=1),
    Question(question="天空是", choices=("蓝色的", "绿色", "红", "黑的"), right=0),
    Question(question="blood is", context="what is red is blood", choices=("blue", "red"), right=1),
]


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    texts = [text for row in QUESTIONS for text in (*row.inputs, *row.choices)] + [
        "Question: Answer: 问题：答案："
    ]
    save_trained(train_bpe(texts * 3, TokenizerConfig(vocab_size=320)), folder)
    return opened(Tokenizer.load(folder))


def opened(tokenizer, style="llama", window=96):
    torch.manual_seed(0)
    shape = {"vocab_size": tokenizer.vocab_size, "width": 32, "layers": 2, "heads": 4, "window": window}
    model = build_model(CoreConfig.model_validate({**shape, "style": style}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return Opened("tiny", model.eval(), tokenizer, CPU, GenerationDefaults())


def log_p(one, prompt, answer):
    """log P(answer | prompt) by hand, and its tokens."""
    read, said = one.tokenizer.encode_prompt(prompt), one.tokenizer.encode_inside(answer, after_special=False)
    with torch.no_grad():
        scores = one.model(torch.tensor([[*read, *said]])).log_softmax(-1)[0, len(read) - 1 : -1]
    return float(scores.gather(1, torch.tensor(said)[:, None]).sum()), len(said)


def test_choices_are_judged_as_what_follows_the_question(one):
    said = Choice().begun(QUESTIONS[:2]).predict(one, QUESTIONS)
    prompts = ["Question: the sky is\nAnswer:", "Question: grass is\nAnswer:", "Question: 天空是\nAnswer:",
               "what is red is blood\n\nQuestion: blood is\nAnswer:"]  # fmt: skip
    for record, prompt, chosen in zip(QUESTIONS, prompts, said, strict=True):
        space = "" if record.question == "天空是" else " "
        by_hand = [log_p(one, prompt, space + choice) for choice in record.choices]
        assert chosen.log_probabilities == pytest.approx([score for score, _ in by_hand], abs=1e-4)
        assert list(chosen.tokens) == [tokens for _, tokens in by_hand]
        scores = [score / len(text) for (score, _), text in zip(by_hand, record.choices, strict=True)]
        assert (chosen.number, chosen.choice) == (np.argmax(scores), record.choices[np.argmax(scores)])
        powers = np.exp(scores)
        assert chosen.probability == pytest.approx(max(powers) / sum(powers), abs=1e-5)
    (chinese,) = Choice().begun(QUESTIONS[2:3]).predict(one, QUESTIONS[2:3])
    assert chinese.log_probabilities[2] == pytest.approx(
        log_p(one, "问题：天空是\n答案：", "红")[0], abs=1e-4
    )


def test_by_letter_the_choices_are_listed_and_share_a_row(one):
    task = Choice(letters=True).begun(QUESTIONS)
    examples = task.examples(one, QUESTIONS)
    batch = every_row(examples, [0, 1])
    assert batch.tokens_BRT.shape[1] == 1
    assert one.tokenizer.decode(batch.tokens_BRT[0, 0].tolist()).startswith(
        "Question: the sky is\nA. blue\nB. a red dog\nC. green\nAnswer:"
    )
    chosen = task.predict(one, QUESTIONS[:1])[0]
    prompt = "Question: the sky is\nA. blue\nB. a red dog\nC. green\nAnswer:"
    assert chosen.log_probabilities == pytest.approx(
        [log_p(one, prompt, f" {x}")[0] for x in "ABC"], abs=1e-4
    )
    assert chosen.choice in QUESTIONS[0].choices


def test_accuracy_is_given_by_each_way_of_comparing():
    """-6 for 6 letters of 1 token, -7 for 14 letters of 3 tokens, -6.5 for 5 letters of 5 tokens."""
    record = Question(question="?", choices=("abcdef", "abcdefghijklmn", "abcde"), right=1)
    by = {"sum": 0, "token": 2, "character": 1}
    for name, number in by.items():
        said = Chosen(choice=record.choices[number], number=number, probability=0.5, tokens=(1, 3, 5),
                      log_probabilities=(-6, -7, -6.5))  # fmt: skip
        task = Choice(by=name)
        figures = {one.name: one.value for one in task.measures([record], [said])}
        assert figures.pop("accuracy") == (number == 1)
        assert figures == {f"accuracy_by_{other}": by[other] == 1 for other in by if other != name}
        assert task.measures([record], [said])[0].name == "accuracy"
        scores = (
            np.array([-6, -7, -6.5])
            / {"sum": 1, "token": np.array([1, 3, 5]), "character": np.array([6, 14, 5])}[name]
        )
        assert task.wrongness([record], [said])[0] == pytest.approx(
            1 - np.exp(scores[1]) / np.exp(scores).sum()
        )
        assert task.said(said) == said.choice


def test_it_is_learned_from_questions_with_unlike_numbers_of_choices(one):
    learner = opened(one.tokenizer)
    task = Choice(by="token").begun(QUESTIONS)
    examples = task.examples(learner, QUESTIONS)
    batch, objective = every_row(examples), task.objective(QUESTIONS)
    scores = objective.scores(learner.model, batch)
    assert scores.isfinite().tolist() == [[k < len(row.choices) for k in range(4)] for row in QUESTIONS]
    losses = learn(learner.model, objective, examples, steps=25, rows=4, rate=1e-2)
    assert all(map(math.isfinite, losses))
    assert losses[-1] < 0.3 * losses[0]
    said = task.predict(learner, QUESTIONS)
    assert [chosen.number for chosen in said] == [row.right for row in QUESTIONS]
    assert task.measures(QUESTIONS, said)[0].value == 1


def test_a_batch_changes_no_score(one):
    task = Choice().begun(QUESTIONS)
    together = task.predict(one, QUESTIONS)
    for record, chosen in zip(QUESTIONS, together, strict=True):
        (alone,) = task.predict(one, [record])
        assert alone.log_probabilities == pytest.approx(chosen.log_probabilities, abs=1e-4)


def test_shots_show_the_right_choice(one):
    task = Choice(method="few-shot", shots=1).begun(QUESTIONS[:1])
    batch = every_row(task.examples(one, QUESTIONS[1:2]))
    text = one.tokenizer.decode(batch.tokens_BRT[0, 0].tolist())
    assert text.startswith("Question: the sky is\nAnswer: blue\n\nQuestion: grass is\nAnswer:")
    letters = Choice(method="few-shot", shots=1, letters=True).begun(QUESTIONS[:1])
    assert "Answer: A\n\n" in one.tokenizer.decode(
        every_row(letters.examples(one, QUESTIONS[1:2])).tokens_BRT[0, 0].tolist()
    )


def test_of_a_long_context_the_end_is_cut_and_counted(one):
    long = Question(question="blood is", context="a red dog " * 60, choices=("blue", "red"), right=1)
    examples = Choice().begun([long]).examples(one, [long])
    assert examples.lengths.cut_tokens > 20
    assert examples.lengths.longest <= 96
    assert one.tokenizer.decode(every_row(examples).tokens_BRT[0, 0].tolist()).count("Answer:") == 1


def test_what_is_no_choice_is_named(one):
    task = Choice().begun(QUESTIONS)
    with pytest.raises(DataError, match="c:1 has fewer than two choices"):
        task.examples(one, [Question(question="?", choices=("a",), right=0)], ["c:1"])
    with pytest.raises(DataError, match="c:1 has fewer than two choices, or an empty one"):
        task.examples(one, [Question(question="?", choices=("a", ""), right=0)], ["c:1"])
    with pytest.raises(DataError, match="c:1 does not say which choice is right"):
        task.examples(one, [Question(question="?", choices=("a", "b"))], ["c:1"])
    assert task.predict(one, [Question(question="?", choices=("red", "blue"))])[0].choice in ("red", "blue")
    with pytest.raises(ConfigError, match="does not write"):
        task.predict(opened(one.tokenizer, "bert"), QUESTIONS)


def test_the_objective_is_the_softmax_over_choices(one):
    examples = Choice(by="sum").begun(QUESTIONS).examples(one, QUESTIONS)
    batch = every_row(examples)
    with torch.no_grad():
        loss = float(MultipleChoice().loss(one.model, batch))
    said = Choice(by="sum").begun(QUESTIONS).predict(one, QUESTIONS)
    by_hand = 0.0
    for record, chosen in zip(QUESTIONS, said, strict=True):
        log_ps = np.array(chosen.log_probabilities)
        by_hand -= log_ps[record.right] - np.logaddexp.reduce(log_ps)
    assert loss == pytest.approx(by_hand, abs=1e-3)
