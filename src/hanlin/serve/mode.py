"""Whether a model has learned to converse, found by asking it: folders do not say, and templates come with both."""

import math

from hanlin.base.errors import HanlinError
from hanlin.base.records import Message
from hanlin.generate.language_model import LanguageModel
from hanlin.generate.scoring import token_log_probabilities

EXAMPLES = (("Hello!", "Hello! How can I help you?"), ("你好！", "你好！有什么可以帮你的吗？"))
"""Exchanges after whose answer a chat model would end its turn."""

ENOUGH = 0.02
"""Probability of the turn's end from which a model counts as chat-tuned. The end is a token that a base model
has never seen: it gives it less than one part in the size of its vocabulary, at most 1/260."""


def ends_its_turns(model: LanguageModel) -> bool:
    """Whether `model` would end its turn after a finished answer, in Chinese or English."""
    if model.tokenizer.chat_template is None:
        return False
    return any(_end_probability(model, question, answer) >= ENOUGH for question, answer in EXAMPLES)


def _end_probability(model: LanguageModel, question: str, answer: str) -> float:
    messages = [Message(role="user", content=question), Message(role="assistant", content=answer)]
    try:
        rendered = model.chat_template.render(messages)
    except HanlinError:
        return (
            1.0  # the template does more than ours do, as those of chat-tuned families; take it at its word
        )
    end = max((place for place, learned in enumerate(rendered.loss_mask) if learned), default=0)
    if end == 0:
        return 0.0  # the template leaves answers out
    ids = rendered.ids[max(0, end - model.window) : end + 1]
    (scores_T,) = token_log_probabilities(model.decoder, [ids], model.compute, len(ids) - 1)
    return math.exp(float(scores_T[-1]))
