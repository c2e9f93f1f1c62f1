"""Log-probabilities of tokens in the shapes of the OpenAI API: one for chat, another for completions."""

from collections.abc import Sequence

from hanlin.generate.bans import token_pieces
from hanlin.generate.sampling import Chosen
from hanlin.serve.replies import (
    ChatLogprobs,
    ChatToken,
    CompletionLogprobs,
    TokenLogprob,
)
from hanlin.tokenizer.tokenizer import Tokenizer


def chat_logprobs(chosen: Sequence[Chosen], tokenizer: Tokenizer) -> ChatLogprobs:
    """Each token of the text, with the likeliest in its place; the token that ended it is not of the text."""
    return ChatLogprobs(
        content=[
            ChatToken(
                **_told(one.id, one.log_probability or 0.0, tokenizer).model_dump(),
                top_logprobs=[_told(id, logprob, tokenizer) for id, logprob in one.top],
            )
            for one in _of_text(chosen, tokenizer)
        ]
    )


def completion_logprobs(
    chosen: Sequence[Chosen], tokenizer: Tokenizer, offset: int = 0
) -> CompletionLogprobs:
    """The same for completions; `offset` is where the first token begins in the text, in characters."""
    told = _of_text(chosen, tokenizer)
    tokens = [_told(one.id, one.log_probability or 0.0, tokenizer) for one in told]
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.token)
    top = [{_told(id, 0.0, tokenizer).token: logprob for id, logprob in one.top} for one in told]
    return CompletionLogprobs(
        tokens=[token.token for token in tokens],
        token_logprobs=[token.logprob for token in tokens],
        top_logprobs=top if any(top) else None,
        text_offset=offsets,
    )


def _of_text(chosen: Sequence[Chosen], tokenizer: Tokenizer) -> list[Chosen]:
    return [one for one in chosen if one.id not in tokenizer.stop_ids]


def _told(id: int, logprob: float, tokenizer: Tokenizer) -> TokenLogprob:
    special = id in tokenizer.special_ids
    piece = tokenizer.special_text(id).encode() if special else token_pieces(tokenizer)[id]
    return TokenLogprob(token=piece.decode(errors="replace"), logprob=logprob, bytes=list(piece))
