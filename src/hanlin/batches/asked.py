"""The words of classes as the assistant's answers in a conversation."""

from collections.abc import Mapping, Sequence
from itertools import chain

from hanlin.batches.template import GAP, Filled, check_words, filled_text, slots_of, too_long
from hanlin.batches.written import Asking, shortened
from hanlin.tokenizer.chat import ChatTemplate
from hanlin.tokenizer.tokenizer import Tokenizer


class AskedWords:
    """As `Template`, of a model that was taught to converse: the template up to the gap is what the user says, and each
    word is judged as the answer.

    shots: records with the words that are right for them, earlier turns of the conversation. prefix: ids before all.
    Raises as `Template`.
    """

    def __init__(
        self,
        source: str,
        words: Sequence[str],
        tokenizer: Tokenizer,
        chat: ChatTemplate,
        *,
        shots: Sequence[tuple[Mapping[str, str], str]] = (),
        prefix: Sequence[int] = (),
    ) -> None:
        self.slots = slots_of(source)
        self._question, self._tokenizer, self._prefix = (
            source.partition(f"{{{GAP}}}")[0].rstrip(),
            tokenizer,
            prefix,
        )
        self._asking = Asking(
            tokenizer, chat, [(filled_text(self._question, record), word) for record, word in shots]
        )
        self.words = [self._asking.answer_ids(self._question, word) for word in words]
        check_words(words, self.words, tokenizer)
        reads = [tuple(word[:-1]) for word in self.words]
        self._reads = list(dict.fromkeys(reads))
        self.row_of_word = [self._reads.index(read) for read in reads]
        self.first_spot = -1

    def fill(self, record: Mapping[str, str], max_length: int) -> Filled:
        """The conversation with the record's text in each slot, whose longest loses its end where all is too long.

        Raises `ConfigError` if the conversation is longer than `max_length` without it.
        """
        longest = max(self.slots, key=lambda slot: len(record[slot]), default="")

        def head(text: str) -> list[int]:
            question = filled_text(self._question, {**record, longest: text})
            return [*self._prefix, *self._asking.prompt_ids(question)]

        room = max_length - max(map(len, self._reads))
        short = shortened(record.get(longest, ""), self._tokenizer, lambda text: len(head(text)), room)
        if short is None:
            raise too_long(len(head("")) + max_length - room, max_length)
        ids = head(short[0])
        return Filled([list(chain(ids, read)) for read in self._reads], len(ids), short[1])
