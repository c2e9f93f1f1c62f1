"""The /commands of a conversation."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hanlin.base.config import json_or_text
from hanlin.base.errors import RequestError
from hanlin.base.language import Text
from hanlin.base.progress import console
from hanlin.stages.chat_session import Session
from hanlin.stages.chat_tokens import show_tokens


@dataclass(frozen=True)
class Next:
    """What comes after a command. say: goes to the model at once; draft: stands on the line to be changed."""

    say: str | None = None
    drawn: int = 0
    draft: str = ""
    leave: bool = False


@dataclass(frozen=True)
class Command:
    """argument: what follows its name, as help shows it; in brackets if it may be left out."""

    argument: str
    about: Text
    run: Callable[[Session, str], Next]


def run_command(session: Session, line: str) -> Next:
    """Do what a line that begins with / asks. Raises `RequestError` for what is none, naming the nearest."""
    name, _, argument = line[1:].partition(" ")
    command, argument = COMMANDS.get(name), argument.strip()
    if command is None:
        near = difflib.get_close_matches(name, COMMANDS, 1, cutoff=0.5)
        raise RequestError(
            Text(f"There is no command /{name}." + (f" Did you mean /{near[0]}?" if near else ""),
                 f"没有命令 /{name}。" + (f"是否想用 /{near[0]}？" if near else "")),
            Text("/help lists all; // says a text that begins with /.", "/help 列出全部命令；以 / 开头的话请写作 //。"),
        )  # fmt: skip
    wants = command.argument and not command.argument.startswith("[")
    if bool(argument) < bool(wants) or (argument and not command.argument):
        usage = f"/{name} {command.argument}".strip()
        raise RequestError(
            Text(f"/{name} is not to be used so.", f"/{name} 的用法不对。"),
            Text(f"Type {usage}", f"请输入 {usage}"),
        )
    return command.run(session, argument)


def _help(session: Session, argument: str) -> Next:
    width = max(len(f"/{name} {command.argument}") for name, command in COMMANDS.items())
    lines = [f"{f'/{name} {one.argument}':{width}}  {one.about}" for name, one in COMMANDS.items()]
    lines.append(
        str(Text('Ctrl-C stops an answer; twice at the prompt, or Ctrl-D, ends. """ or \\ at a line\'s end: more lines.',
                 'Ctrl-C 停止当前回答；在提示符处按两次或按 Ctrl-D 结束。用 """ 或行末的 \\ 输入多行。'))
    )  # fmt: skip
    _tell("\n".join(lines))
    return Next()


def _reset(session: Session, argument: str) -> Next:
    session.reset()
    return Next()


def _undo(session: Session, argument: str) -> Next:
    text = session.take_back()
    _tell(Text(f"Forgotten: {text}", f"已忘掉：{text}"))
    return Next()


def _retry(session: Session, argument: str) -> Next:
    if session.parameters.temperature == 0:
        _tell(Text("(temperature is 0: the answer will be the same; /set temperature=0.8)",
                   "（temperature 为 0：回答不会变；可用 /set temperature=0.8）"))  # fmt: skip
    drawn = session.drawn
    return Next(say=session.take_back(), drawn=drawn + 1)


def _edit(session: Session, argument: str) -> Next:
    text = session.take_back()
    return Next(say=argument) if argument else Next(draft=text)


def _system(session: Session, argument: str) -> Next:
    if argument:
        session.system = None if argument == "none" else argument
    else:
        _tell(session.system or Text("(none)", "（无）"))
    return Next()


def _save(session: Session, argument: str) -> Next:
    session.save(Path(argument))
    _tell(Text(f"Saved: {argument}", f"已保存：{argument}"))
    return Next()


def _load(session: Session, argument: str) -> Next:
    session.load(Path(argument))
    for message in session.messages:
        _tell(f"{message.role}: {message.content}")
    return Next()


def _adapter(session: Session, argument: str) -> Next:
    if argument:
        session.switch(None if argument == "none" else argument)
        return Next()
    there = [] if session.model.adapters is None else list(session.model.adapters.configs)
    for name in ["none", *there]:
        _tell(f"{'*' if name == (session.adapter or 'none') else ' '} {name}")
    return Next()


def _set(session: Session, argument: str) -> Next:
    name, equals, value = argument.partition("=")
    if not equals:
        raise RequestError(
            Text(f"{argument}: not a name and a value.", f"{argument}：不是“名称=值”。"),
            Text("Type /set name=value; /params shows all.", "请输入 /set 名称=值；/params 列出全部。"),
        )
    value = value.strip()
    session.set(name.strip().replace("-", "_"), json_or_text(value))
    return Next()


def _params(session: Session, argument: str) -> Next:
    defaults = session.model.defaults.model_dump()
    for name, value in session.parameters.model_dump().items():
        _tell(f"{'*' if value != defaults[name] else ' '} {name} = {value}")
    return Next()


def _tokens(session: Session, argument: str) -> Next:
    show_tokens(session.tokens())
    return Next()


def _quit(session: Session, argument: str) -> Next:
    return Next(leave=True)


def _tell(text: Text | str) -> None:
    console.print(str(text), style="dim", markup=False, soft_wrap=True)


COMMANDS = {
    "help": Command("", Text("this list", "显示本列表"), _help),
    "reset": Command("", Text("forgets the conversation", "忘掉对话"), _reset),
    "undo": Command("", Text("forgets the last exchange", "忘掉最后一轮"), _undo),
    "retry": Command("", Text("answers once more", "重新回答"), _retry),
    "edit": Command("[TEXT]", Text("asks the last question otherwise", "修改上一个问题"), _edit),
    "system": Command("[TEXT]", Text("instructions, or none; without: shows them", "系统提示，none 为去掉；不带参数则显示"), _system),
    "save": Command("FILE", Text("writes the conversation", "保存对话"), _save),
    "load": Command("FILE", Text("goes on with a saved one", "载入已保存的对话"), _load),
    "adapter": Command("[NAME]", Text("answers through an adapter, or none; without: lists them", "换用适配器，none 为不用；不带参数则列出"), _adapter),
    "set": Command("NAME=VALUE", Text("changes a parameter", "修改参数"), _set),
    "params": Command("", Text("shows all parameters", "显示全部参数"), _params),
    "tokens": Command("", Text("shows how probable each token of the last answer was", "显示上一个回答中各词元的概率"), _tokens),
    "quit": Command("", Text("ends", "结束"), _quit),
}  # fmt: skip
