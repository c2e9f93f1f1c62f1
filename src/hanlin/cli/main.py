"""`hanlin <verb>`: all verbs, and what becomes of an error."""

import io
import os
import sys

from cyclopts import App

from hanlin import __version__
from hanlin.base.errors import HanlinError
from hanlin.base.interrupt import Interrupted
from hanlin.base.language import Text
from hanlin.base.progress import console
from hanlin.cli import models, recipes
from hanlin.cli.chat import chat
from hanlin.cli.compare import compare
from hanlin.cli.evaluate import evaluate
from hanlin.cli.finetune import finetune
from hanlin.cli.generate import fill, generate
from hanlin.cli.keys import keys
from hanlin.cli.predict import predict
from hanlin.cli.records import records
from hanlin.cli.show import doctor, show

app = App(
    name="hanlin",
    help=str(
        Text(
            "A language model of your own: from raw text to a trained, examined and served model.",
            "自己的语言模型：从原始文本到训练、考核、上线。",
        )
    ),
    version=__version__,
    help_format="plaintext",
    result_action="return_value",
    suppress_keyboard_interrupt=False,  # `main` says what Ctrl-C leaves
)

for verb in (
    recipes.run,
    recipes.plan,
    recipes.corpus,
    recipes.tokenizer,
    recipes.pretrain,
    records,
    finetune,
    predict,
    evaluate,
    compare,
    recipes.find_rate,
    recipes.sweep,
    recipes.ladder,
    generate,
    chat,
    fill,
    models.embed,
    models.serve,
    keys,
    models.convert,
    models.average,
    show,
    doctor,
):
    app.command(verb)


def main() -> None:
    """Entry point: a user's mistake is two sentences and exit code 2, never a traceback."""
    # Bytes on standard input that are no characters reach the tokenizer, which says so, instead of ending in a traceback.
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    try:
        app()
    except HanlinError as error:
        console.print("hanlin: ", end="", style="bold red")
        console.print(str(error), markup=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except Interrupted:
        sys.exit(130)
    except KeyboardInterrupt:
        console.print(
            str(
                Text(
                    "Stopped. What was finished is kept; the same command goes on after it.",
                    "已停止。已完成的都还在；再次运行同一命令会从其后继续。",
                )
            )
        )
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read our output has gone (`| head`); Python would complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
