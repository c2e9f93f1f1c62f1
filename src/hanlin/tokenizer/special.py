"""The special tokens, declared once: of the tokenizers that Hanlin trains, and those that end a turn
anywhere."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SpecialTokens:
    """Tokens with a meaning of their own. They have the lowest ids, and no text of a user produces them."""

    end_of_document: str = "<|endoftext|>"
    padding: str = "<|pad|>"
    turn_start: str = "<|im_start|>"
    turn_end: str = "<|im_end|>"

    def ordered(self) -> tuple[str, ...]:
        """All of them, in the order of their ids from 0."""
        return (self.end_of_document, self.padding, self.turn_start, self.turn_end)


TURN_ENDS = (
    SpecialTokens().turn_end,
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
    "<|eot|>",
    "<|endofturn|>",
    "<end_of_turn>",
    "<|end_of_turn|>",
)
"""Special tokens that end a turn in the families of the ecosystem. One that a tokenizer declares stops
generation, because many model folders name only the end of a document as their end token and then never
stop chatting."""
