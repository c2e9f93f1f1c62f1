"""Pseudo-perplexity by hand, and the examination of a model by its own objectives."""

import math

import numpy as np
import pytest
import torch

from hanlin.batches.framed import FramedRows
from hanlin.batches.loader import Loader
from hanlin.batches.masked import MaskedRows
from hanlin.batches.masking import Masking
from hanlin.evaluate import pseudo_perplexity
from hanlin.evaluate.config import EvaluateConfig
from hanlin.evaluate.labels import MEASURES
from hanlin.evaluate.objectives import examine_objective, examine_pseudo_perplexity
from hanlin.evaluate.pseudo_perplexity import pseudo_scores
from hanlin.evaluate.report import RunReport, render_report
from hanlin.evaluate.results import Figure, Interval, ObjectiveExamination, ObjectiveFigures
from hanlin.model.config import CoreConfig
from hanlin.model.encoder import Encoder
from hanlin.objective.masked import Masked
from hanlin.objective.mixture import Part
from hanlin.trainer.learner import Learner
from hanlin.trainer.validate import examine_part
from teaching import SPECIAL, VOCABULARY, repeating, teach
from tiny import CPU, scatter


def build():
    torch.manual_seed(0)
    return Encoder(
        CoreConfig.model_validate({"style": "bert", "vocab_size": VOCABULARY, "width": 32, "layers": 2, "heads": 2, "window": 24})
    )  # fmt: skip


def framed():
    return FramedRows(repeating(), 24, SPECIAL)


@pytest.mark.parametrize("at_once", [1, 100, 10_000])
def test_one_token_at_a_time_by_hand(monkeypatch, at_once):
    monkeypatch.setattr(pseudo_perplexity, "TOKENS_AT_ONCE", at_once)
    model, rows = scatter(build()), framed().take(np.array([1, 2]))
    scores = pseudo_scores(model, rows, SPECIAL, CPU)
    for row in range(2):
        total, tokens = 0.0, 0
        for place, id in enumerate(rows.tokens_BT[row].tolist()):
            if id in SPECIAL.all:
                continue
            hidden = rows.tokens_BT[row : row + 1].clone()
            hidden[0, place] = SPECIAL.mask
            documents, positions = (x[row : row + 1] for x in (rows.documents_BT, rows.positions_BT))
            with torch.no_grad():
                total -= float(model(hidden, positions, documents)[0, place].log_softmax(-1)[id])
            tokens += 1
        assert scores.nll_B[row] == pytest.approx(total, abs=1e-3)
        assert scores.tokens_B[row] == tokens
    assert scores.perplexity == pytest.approx(math.exp(scores.nll_B.sum() / scores.tokens_B.sum()))


def test_a_model_that_knows_nothing_has_that_of_the_vocabulary():
    model = build().eval()
    with torch.no_grad():
        model.head.bias.zero_()
        model.embed.token.weight.zero_()
    found = examine_pseudo_perplexity(model, framed(), CPU, EvaluateConfig(pseudo_tokens=30))
    assert found.figures["pseudo_perplexity"].value == pytest.approx(VOCABULARY, rel=1e-4)
    assert found.rows == 2
    assert found.rows_in_split == len(framed())


def test_a_model_that_has_learned_has_less():
    rows, model = framed(), build()
    teach(model, Masked(), MaskedRows(rows, Masking(SPECIAL.mask, VOCABULARY, SPECIAL.all)), 80)
    found = examine_pseudo_perplexity(model, rows, CPU, EvaluateConfig(pseudo_tokens=200)).figures
    figure = found["pseudo_perplexity"]
    assert 1 <= figure.value < 3
    assert figure.interval.low < figure.value < figure.interval.high


def test_an_examination_is_the_mean_over_all_predictions():
    model, rows = scatter(build()), MaskedRows(framed(), Masking(SPECIAL.mask, VOCABULARY, SPECIAL.all))
    part = Part("masked", Masked(), Loader(rows, rows=5), Loader(rows, rows=5))
    whole = examine_objective(model, part, 1.0, CPU, EvaluateConfig())
    expected = examine_part(Learner(model).eval(), part, None, CPU)
    assert whole.rows == whole.rows_in_split == len(rows)
    for name, value in expected.items():
        assert whole.figures[name].value == pytest.approx(value)
        assert whole.figures[name].interval.low < value < whole.figures[name].interval.high
    assert examine_objective(model, part, 0.1, CPU, EvaluateConfig()).rows == round(0.1 * len(rows))


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_page_tells_what_was_found(lang):
    figure = Figure(value=3.25, interval=Interval(low=3.0, high=3.5))
    masked = ObjectiveFigures(rows=9, rows_in_split=12, figures={"loss": figure, "accuracy": figure})
    hidden = ObjectiveFigures(
        rows=2, rows_in_split=12, figures={"pseudo_perplexity": Figure(value=7.5, interval=None)}
    )
    found = ObjectiveExamination(
        split="test", uniform_loss=6.125, objectives={"masked": masked, "pseudo_perplexity": hidden}
    )
    page = render_report(RunReport(title="a run", objectives=found), lang)
    for said in (
        "3.2500",
        "3.000–3.500",
        "7.5000",
        "6.125",
        MEASURES["accuracy"].zh if lang == "zh" else "accuracy",
    ):
        assert said in page
    assert ("9 of 12 rows" if lang == "en" else "9 行（共 12 行）") in page
