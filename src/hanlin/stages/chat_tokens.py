"""How sure a model was of each token of an answer, in colours."""

import math
from collections.abc import Sequence

from rich.text import Text as Coloured

from hanlin.base.language import Text
from hanlin.base.progress import console
from hanlin.generate.completion import Token

_SURE, _LIKELY = 0.8, 0.3

_LEAST_SURE = 5
"""So many tokens are shown with what else might have stood there."""


def show_tokens(tokens: Sequence[Token]) -> None:
    """Print the answer, each token coloured by its probability, and the least probable ones with others in their place."""
    if not tokens:
        console.print(str(Text("There is no answer yet.", "还没有回答。")), style="dim")
        return
    answer = Coloured()
    for token in tokens:
        answer.append(token.text, _colour(_probability(token)))
    console.print(answer, soft_wrap=True)
    legend = Coloured(str(Text("probability: ", "概率：")), "dim")
    for low, said in ((_SURE, f">= {_SURE}"), (_LIKELY, f">= {_LIKELY}"), (0.0, f"< {_LIKELY}")):
        legend.append(f"{said}  ", _colour(low))
    console.print(legend)
    for token in sorted(tokens, key=_probability)[:_LEAST_SURE]:
        others = ", ".join(f"{one.text!r} {_probability(one):.2f}" for one in token.top if one.id != token.id)
        console.print(f"{_probability(token):5.2f} {token.text!r} | {others}", style="dim", markup=False)


def _probability(token: Token) -> float:
    assert token.log_probability is not None
    return math.exp(token.log_probability)


def _colour(probability: float) -> str:
    return "green" if probability >= _SURE else "yellow" if probability >= _LIKELY else "red"
