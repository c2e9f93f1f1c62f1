"""What the engine says to prompts, adapters and tokenizers that do not fit."""

from hanlin.base.errors import CheckpointError, RequestError
from hanlin.base.language import Text


def empty_prompt() -> RequestError:
    """A prompt without a token."""
    return RequestError(
        Text("The prompt is empty.", "提示词为空。"),
        Text("Give at least one word to continue.", "请至少给出一个要续写的词。"),
    )


def no_room(length: int, window: int) -> RequestError:
    """A prompt that fills the model's window."""
    return RequestError(
        Text(
            f"The prompt has {length} tokens; the model's window of {window} must leave room for at "
            "least one more.",
            f"提示词有 {length} 个词元，而模型窗口为 {window}，必须至少留出一个词元的空间。",
        ),
        Text(
            "Shorten the prompt, or use a model with a longer window.", "请缩短提示词，或换用窗口更长的模型。"
        ),
    )


def no_memory(length: int, bound: int) -> RequestError:
    """A prompt that would fit the window, but not the memory set aside for cached tokens."""
    return RequestError(
        Text(
            f"The prompt has {length} tokens; the memory set aside for cached tokens holds {bound} and must leave "
            "room for at least one more.",
            f"提示词有 {length} 个词元，而为缓存预留的内存只能容纳 {bound} 个，且必须至少留出一个词元的空间。",
        ),
        Text(
            "Shorten the prompt, or allow the engine more cached tokens (cache_tokens).",
            "请缩短提示词，或允许引擎缓存更多词元（cache_tokens）。",
        ),
    )


def no_adapters(name: str) -> RequestError:
    """An adapter asked of a model that has none."""
    return RequestError(
        Text(f"There is no adapter {name}: this model has none.", f"没有适配器 {name}：该模型没有适配器。"),
        Text("Name no adapter, or load it first.", "请不要指定适配器，或先载入它。"),
    )


def outside(size: int) -> RequestError:
    """Ids that no token has."""
    return RequestError(
        Text(
            f"The prompt holds ids outside the vocabulary of {size}.",
            f"提示词中有超出词表大小 {size} 的编号。",
        ),
        Text("Encode the prompt with the tokenizer of this model.", "请用该模型的分词器编码提示词。"),
    )


def wrong_tokenizer(model: int, tokenizer: int) -> CheckpointError:
    """A tokenizer with more tokens than the model."""
    return CheckpointError(
        Text(
            f"The tokenizer has {tokenizer} tokens, the model only {model}: they do not belong together.",
            f"分词器有 {tokenizer} 个词元，而模型只有 {model} 个：二者不匹配。",
        ),
        Text("Use the tokenizer that the model was trained with.", "请使用训练该模型时所用的分词器。"),
    )
