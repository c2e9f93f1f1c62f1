"""The errors for text and ids that a vocabulary cannot take."""

from hanlin.base.errors import CheckpointError, DataError
from hanlin.base.language import Text


def surrogate(text: str) -> DataError:
    """For half a surrogate pair, which no encoding of Unicode can carry."""
    place = next((n for n, character in enumerate(text) if "\ud800" <= character <= "\udfff"), -1)
    return DataError(
        Text(
            f"Character {place} of the text is half a surrogate pair: not Unicode.",
            f"文本的第 {place} 个字符是半个代理对，不是合法的 Unicode。",
        ),
        Text("Decode the text again with the right encoding.", "请用正确的编码重新解码该文本。"),
    )


def unspeakable(name: str) -> DataError:
    """For the name of a special token that the vocabulary cannot spell otherwise."""
    return DataError(
        Text(
            f"The text holds {name}, which this vocabulary has only as a special token.",
            f"文本中有 {name}，而该词表中它只能是特殊词元。",
        ),
        Text("Remove it from the text.", "请从文本中删去它。"),
    )


def outside(id: int, size: int) -> DataError:
    """For an id that no token has."""
    return DataError(
        Text(f"Token id {id} is outside the vocabulary of {size}.", f"词元编号 {id} 超出词表大小 {size}。"),
        Text("Use the tokenizer that made these ids.", "请使用生成这些编号的分词器。"),
    )


def no_end(place: str) -> CheckpointError:
    """For a tokenizer that names no token to end a text with."""
    return CheckpointError(
        Text(f"No file in {place} names the token that ends a text.", f"{place} 中没有文件指明结束符。"),
        Text(
            'Add "eos_token" to tokenizer_config.json (or "eos_token_id" to generation_config.json).',
            "请在 tokenizer_config.json 中加上 eos_token（或在 generation_config.json 中加上 eos_token_id）。",
        ),
    )
