"""From a request body to prompt ids and sampling parameters that fit the model's window."""

import re
from dataclasses import dataclass

from hanlin.base.errors import HanlinError, RequestError
from hanlin.base.language import Text
from hanlin.generate.controls import Controls
from hanlin.generate.conversation import Renders, fit_conversation
from hanlin.generate.language_model import LanguageModel
from hanlin.generate.parameters import SamplingParameters
from hanlin.serve.config import ServeConfig
from hanlin.serve.problems import ApiProblem, from_hanlin
from hanlin.serve.requests import ChatBody, CompletionBody, GenerationBody
from hanlin.serve.tool_checks import check_ends, check_history, check_schemas, turns
from hanlin.serve.tool_prompt import ToolTemplate, ToolTurn

COMPLETION_TOKENS = 16
"""New tokens of /v1/completions when the request names no number: the OpenAI API's default."""


@dataclass(frozen=True)
class Order:
    """What a request asks the engine for: one generation each, and what was left out to make it fit."""

    generations: list[tuple[list[int], SamplingParameters]]
    dropped: int
    """Oldest turns (chat) or first tokens (completion) that `truncation: auto` left out."""


def order_completion(body: CompletionBody, model: LanguageModel, config: ServeConfig) -> Order:
    """Encode every prompt; raise `ApiProblem` 400 where one does not fit."""
    wanted = _wanted_tokens(body.max_tokens, "max_tokens", config)
    prompts = [_encode(prompt, model) for prompt in body.prompt]
    dropped = 0
    if body.truncation == "auto":
        keep = max(1, model.window - (wanted or COMPLETION_TOKENS))
        dropped = sum(max(0, len(ids) - keep) for ids in prompts)
        prompts = [ids[-keep:] for ids in prompts]
    generations = []
    for ids in prompts:
        room = model.window - len(ids)
        if room < (wanted or 1):
            raise _too_long(model.window, len(ids), wanted, "prompt")
        generations += _choices(body, model, ids, wanted or min(COMPLETION_TOKENS, room))
    _check_choices(len(generations), config)
    return Order(generations, dropped)


def order_chat(body: ChatBody, model: LanguageModel, config: ServeConfig) -> Order:
    """Render the conversation; raise `ApiProblem` 400 where it does not fit."""
    if model.tokenizer.chat_template is None:
        raise ApiProblem(
            400,
            Text(
                f"The model '{model.name}' has no chat template. Use /v1/completions.",
                f"模型“{model.name}”没有对话模板。请使用 /v1/completions。",
            ),
            param="model",
            code="unsupported_model",
        )
    if body.max_tokens is not None and body.max_completion_tokens is not None:
        raise ApiProblem(
            400,
            Text(
                "Set max_tokens or max_completion_tokens, not both.",
                "max_tokens 与 max_completion_tokens 只能设置一个。",
            ),
            param="max_tokens",
            code="invalid_value",
        )
    check_history(body.messages)
    if body.messages[-1].role not in ("user", "tool"):
        raise ApiProblem(
            400,
            Text(
                "The last message must have the role 'user' or 'tool'.",
                "最后一条消息的角色必须是“user”或“tool”。",
            ),
            param="messages",
            code="invalid_value",
        )
    name = "max_tokens" if body.max_tokens is not None else "max_completion_tokens"
    wanted = _wanted_tokens(body.max_tokens or body.max_completion_tokens, name, config)
    ids, dropped = _render(body, model, wanted)
    room = min(model.window - len(ids), config.max_new_tokens)
    generations = _choices(body, model, ids, min(wanted or room, room))
    _check_choices(len(generations), config)
    return Order(generations, dropped)


def _render(body: ChatBody, model: LanguageModel, wanted: int | None) -> tuple[list[int], int]:
    """The prompt with room for the answer, and how many turns that cost."""
    messages = turns(body.messages)
    template: Renders = model.chat_template
    if body.callables or any(isinstance(message, ToolTurn) for message in messages):
        template = ToolTemplate(model.chat_template, body.callables)
    automatic = body.truncation == "auto"
    # Where no number is asked for, a quarter of the window is worth more to the answer than to old turns.
    reserve = wanted or (max(1, model.window // 4) if automatic else 1)
    try:
        ids = template.render(messages, add_generation_prompt=True).ids
    except HanlinError as error:
        raise from_hanlin(error, "messages") from error
    if len(ids) + reserve <= model.window:
        return ids, 0
    if not automatic:
        raise _too_long(model.window, len(ids), wanted, "messages")
    try:
        prompt = fit_conversation(template, messages, model.window, reserve)
    except RequestError as error:
        raise from_hanlin(error, "messages", "context_length_exceeded") from error
    return prompt.ids, prompt.dropped_turns


def _encode(prompt: str | list[int], model: LanguageModel) -> list[int]:
    if isinstance(prompt, str):
        try:
            # Nothing to continue means the beginning of a document.
            return model.tokenizer.encode_prompt(prompt) or [model.tokenizer.eos_id]
        except HanlinError as error:
            raise from_hanlin(error, "prompt", "invalid_value") from error
    wrong = next((id for id in prompt if not 0 <= id < model.tokenizer.vocab_size), None)
    if wrong is not None:
        raise ApiProblem(
            400,
            Text(
                f"Token id {wrong} in 'prompt' is outside the vocabulary of {model.tokenizer.vocab_size}.",
                f"“prompt”中的词元编号 {wrong} 超出词表大小 {model.tokenizer.vocab_size}。",
            ),
            param="prompt",
            code="invalid_value",
        )
    return prompt


def _wanted_tokens(wanted: int | None, name: str, config: ServeConfig) -> int | None:
    if wanted is not None and wanted > config.max_new_tokens:
        raise ApiProblem(
            400,
            Text(
                f"'{name}' must be at most {config.max_new_tokens} on this server.",
                f"在本服务器上，“{name}”不能大于 {config.max_new_tokens}。",
            ),
            param=name,
            code="invalid_value",
        )
    return wanted


def _choices(
    body: GenerationBody, model: LanguageModel, ids: list[int], max_new_tokens: int
) -> list[tuple[list[int], SamplingParameters]]:
    """`n` generations of one prompt; what the request leaves open is the model's default."""
    given = {
        **body.parameters(),
        "max_new_tokens": max_new_tokens,
        "log_probabilities": body.log_probabilities,
    }
    try:
        if isinstance(body, ChatBody):
            check_ends(body.callables)
        common = model.defaults.changed(given)
        Controls.of(common, ids, model.tokenizer)  # refuses here, in a thread of its own, what it cannot do
    except HanlinError as error:
        if isinstance(body, ChatBody) and body.callables:
            check_schemas(body.callables, model.tokenizer)
        raise from_hanlin(error, _param_of(error, body), "invalid_value") from error
    return [
        (ids, common.model_copy(update={"seed": _seed(body.seed, index)})) for index in range(body.n or 1)
    ]


_THEIRS = {
    "min_new_tokens": "min_tokens",
    "max_new_tokens": "max_tokens",
    "stop_ids": "stop_token_ids",
    "json_schema": "response_format",
}


def _param_of(error: HanlinError, body: GenerationBody) -> str | None:
    """The field of the request that an error of the engine names first."""
    names = re.findall(r"[a-z_]+", error.problem.en)
    ours = next((name for name in names if name in SamplingParameters.model_fields), "")
    theirs = _THEIRS.get(ours, ours)
    if theirs == "grammar" and isinstance(body, ChatBody) and body.callables:
        return "tools"
    return theirs or None


def _seed(seed: int | None, index: int) -> int | None:
    """Each choice draws with a seed of its own, in the non-negative range that generators take."""
    return None if seed is None else (seed + index) % 2**63


def _check_choices(count: int, config: ServeConfig) -> None:
    most = min(config.max_choices, config.max_rows + config.max_queue)  # more would be refused for ever
    if count > most:
        raise ApiProblem(
            400,
            Text(
                f"The request asks for {count} texts (prompts times 'n'); the most here is {most}.",
                f"该请求要求 {count} 段文本（提示数乘以“n”），此处最多 {most} 段。",
            ),
            param="n",
            code="invalid_value",
        )


def _too_long(window: int, prompt_tokens: int, wanted: int | None, param: str) -> ApiProblem:
    asked = prompt_tokens + (wanted or 1)
    return ApiProblem(
        400,
        Text(
            f"This model's maximum context length is {window} tokens. However, you requested {asked} tokens "
            f"({prompt_tokens} in the {param}, {wanted or 1} in the completion). Shorten the {param}, ask for "
            "fewer new tokens, or send truncation: auto to leave out what is oldest.",
            f"该模型的上下文最长为 {window} 个词元，但请求了 {asked} 个（{param} 中 {prompt_tokens} 个，"
            f"新生成 {wanted or 1} 个）。请缩短 {param}、减少要生成的词元数，或用 truncation: auto 去掉最早的部分。",
        ),
        param=param,
        code="context_length_exceeded",
    )


def check_model(name: str, model: LanguageModel) -> str | None:
    """The adapter that `name` asks for, as in `base:adapter`; None: the base. Raises `ApiProblem` 404 for neither."""
    if name == model.name:
        return None
    names = served_names(model)
    if name in names:
        return name.removeprefix(f"{model.name}:")
    there_en, there_zh = "', '".join(names), "”、“".join(names)
    raise ApiProblem(
        404,
        Text(
            f"The model '{name[:100]}' does not exist here; this server has '{there_en}'.",
            f"这里没有模型“{name[:100]}”；本服务器提供的是“{there_zh}”。",
        ),
        param="model",
        code="model_not_found",
    )


def served_names(model: LanguageModel) -> list[str]:
    """What requests may name: the base, and `base:adapter` for each of its adapters."""
    adapters = model.adapters
    return [model.name, *(f"{model.name}:{name}" for name in (adapters.configs if adapters else ()))]
