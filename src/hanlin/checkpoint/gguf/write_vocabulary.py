"""The metadata of a GGUF file from the files of a tokenizer: what llama.cpp needs to cut text alike."""

from typing import Any, Literal

import tokenizers

from hanlin.base.errors import CheckpointError
from hanlin.base.language import Text
from hanlin.base.progress import console
from hanlin.checkpoint.gguf.read_vocabulary import (
    BYTE,
    CONTROL,
    NORMAL,
    PADDING,
    ROLES,
    SPACE,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
)
from hanlin.checkpoint.gguf.splits import PROBES, SPLITS, Match, match_split
from hanlin.tokenizer.folder import DEFINITION, TokenizerFiles, parse_object
from hanlin.tokenizer.pieces import is_byte_level

OnMismatch = Literal["refuse", "warn", "ignore"]
"""What to do where llama.cpp would cut text otherwise; "ignore" is for files that are only ever given ids."""


def write_tokenizer(files: TokenizerFiles, rows: int, on_mismatch: OnMismatch) -> dict[str, Any]:
    """The metadata of a tokenizer for a model whose embedding has `rows` rows.

    Raises `CheckpointError` for a tokenizer that is neither byte-level nor SentencePiece BPE, that has more
    tokens than the model has rows, or, with `on_mismatch` "refuse", whose text llama.cpp would cut otherwise.
    """
    definition = parse_object(files.texts[DEFINITION], f"{files.place}/{DEFINITION}")
    built = tokenizers.Tokenizer.from_str(files.texts[DEFINITION])
    ids: dict[str, int] = built.get_vocab(with_added_tokens=True)
    if max(ids.values()) >= rows:
        raise _too_many(files.place, max(ids.values()) + 1, rows)
    names = {id: token for token, id in ids.items()}
    added = {id: token.special for id, token in built.get_added_tokens_decoder().items()}
    if is_byte_level(definition):
        own, kinds = _byte_level(definition, added, files.place, on_mismatch), {}
    elif _is_sentence_pieces(definition):
        own, kinds = _sentence_pieces(definition, names, rows), _kinds_of_pieces(definition, ids)
    else:
        raise _other_kind(files.place)
    special = {role: ids[name] for role in ROLES if (name := files.named(role)) in ids}
    around: list[int] = built.encode("").ids
    values: dict[str, Any] = {
        **own,
        "tokens": [names.get(id, PADDING.format(id)) for id in range(rows)],
        "token_type": [
            (CONTROL if added[id] else USER_DEFINED) if id in added else kinds.get(id, NORMAL)
            if id in names else UNUSED
            for id in range(rows)
        ],
        **{f"{ROLES[role]}_token_id": id for role, id in special.items()},
        "add_bos_token": "bos" in special and around[:1] == [special["bos"]],
        "add_eos_token": len(around) > 1 and around[-1] == special.get("eos"),
    }  # fmt: skip
    metadata = {f"tokenizer.ggml.{key}": value for key, value in values.items()}
    return metadata | _templates(files.chat_templates)


def _templates(sources: dict[str, str]) -> dict[str, Any]:
    """The plain template, and under their names those for tools and the like."""
    named = {name: source for name, source in sources.items() if name != "default"}
    values: dict[str, Any] = {f"tokenizer.chat_template.{name}": source for name, source in named.items()}
    if named:
        values["tokenizer.chat_templates"] = list(named)
    if "default" in sources:
        values["tokenizer.chat_template"] = sources["default"]
    return values


def _byte_level(
    definition: dict[str, Any], added: dict[int, bool], place: str, on_mismatch: OnMismatch
) -> dict[str, Any]:
    match = match_split(definition)
    if match.cut or not _whole_pieces_agree(definition, SPLITS[match.name].ignore_merges, added):
        problem = _mismatch(place, match)
        if on_mismatch == "refuse":
            raise problem
        if on_mismatch == "warn":
            console.print(str(problem.problem))
    merges = definition["model"]["merges"]
    return {
        "model": "gpt2",
        "pre": match.name,
        "merges": [merge if isinstance(merge, str) else " ".join(merge) for merge in merges],
    }


def _whole_pieces_agree(definition: dict[str, Any], ignored: bool, added: dict[int, bool]) -> bool:
    """Whether it is all the same that one side looks a whole piece up and the other only merges: it is when
    every token, spelt out, merges to itself."""
    model = definition["model"]
    if bool(model.get("ignore_merges")) == ignored:
        return True
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
    rules = tokenizers.models.BPE(vocab=model["vocab"], merges=[(left, right) for left, right in pairs])
    return all(len(rules.tokenize(piece)) == 1 for piece, id in model["vocab"].items() if id not in added)


def _is_sentence_pieces(definition: dict[str, Any]) -> bool:
    """Whether spaces are pieces of the text from the beginning, as SentencePiece has it."""
    model = definition.get("model") or {}
    return (
        (model.get("type") or "BPE") == "BPE"
        and bool(model.get("byte_fallback"))
        and definition.get("pre_tokenizer") is None
        and _normal_steps(definition)[-1:] == [{"type": "Replace", "pattern": {"String": " "}, "content": SPACE}]
        and _normal_steps(definition)[:-1] in ([], [{"type": "Prepend", "prepend": SPACE}])
    )  # fmt: skip


def _normal_steps(definition: dict[str, Any]) -> list[Any]:
    normalizer = definition.get("normalizer") or {}
    steps: list[Any] = normalizer.get("normalizers", [normalizer])
    return steps


def _sentence_pieces(definition: dict[str, Any], names: dict[int, str], rows: int) -> dict[str, Any]:
    """Scores in the order of the merges: the pair that is merged first makes the token of the best score."""
    merges = definition["model"]["merges"]
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(merges):
        token = "".join(merge.split(" ")) if isinstance(merge, str) else "".join(merge)
        ranks.setdefault(token, rank)
    return {
        "model": "llama",
        "pre": "default",
        "add_space_prefix": len(_normal_steps(definition)) > 1,
        "scores": [-float(ranks.get(names.get(id, ""), len(merges))) for id in range(rows)],
    }


def _kinds_of_pieces(definition: dict[str, Any], ids: dict[str, int]) -> dict[int, int]:
    kinds = {ids[name]: BYTE for byte in range(256) if (name := f"<0x{byte:02X}>") in ids}
    unknown = definition["model"].get("unk_token")
    return kinds if unknown is None else kinds | {ids[unknown]: UNKNOWN}


def _mismatch(place: str, match: Match) -> CheckpointError:
    example = f", such as {min(match.encoded, key=len)!r}" if match.encoded else ""
    example_zh = f"，例如 {min(match.encoded, key=len)!r}" if match.encoded else ""
    return CheckpointError(
        Text(f"llama.cpp cannot cut text as the tokenizer in {place} does. Its nearest scheme, {match.name}, cuts "
             f"{len(match.cut)} of {len(PROBES)} sample texts otherwise and gives other tokens for "
             f"{len(match.encoded)}{example}: there the model sees what it was not trained on.",
             f"llama.cpp 无法像 {place} 中的分词器那样切分文本。最接近的方案 {match.name} 对 {len(PROBES)} 段样例中的 "
             f"{len(match.cut)} 段切分不同，其中 {len(match.encoded)} 段得到不同的词元{example_zh}：模型训练时没有见过这样的输入。"),
        Text("Accept the difference with on_mismatch=warn, or train the tokenizer with tokenizer.pattern=llama3, "
             "which llama.cpp knows.",
             "可以用 on_mismatch=warn 接受该差异，或用 llama.cpp 认识的 tokenizer.pattern=llama3 训练分词器。"),
    )  # fmt: skip


def _too_many(place: str, tokens: int, rows: int) -> CheckpointError:
    return CheckpointError(
        Text(f"{place}: the tokenizer has {tokens} tokens, the model only {rows}.",
             f"{place}：分词器有 {tokens} 个词元，而模型只有 {rows} 个。"),
        Text("Use the tokenizer that belongs to this model.", "请使用与该模型配套的分词器。"),
    )  # fmt: skip


def _other_kind(place: str) -> CheckpointError:
    return CheckpointError(
        Text(f"The tokenizer in {place} is neither byte-level BPE nor SentencePiece BPE: it cannot be written "
             "to GGUF.",
             f"{place} 中的分词器既不是字节级 BPE，也不是 SentencePiece BPE，无法写入 GGUF。"),
        Text("Keep this model as a folder.", "请以目录形式保留该模型。"),
    )  # fmt: skip
