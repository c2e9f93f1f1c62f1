"""What needs other processes: locks, signals, and what an import brings along."""

import os
import pkgutil
import signal
import subprocess
import sys
import threading

import pytest

import hanlin
from hanlin.base.errors import ConfigError, DiskError
from hanlin.base.interrupt import interruptible
from hanlin.base.lock import locked

HOLD = """
import sys
from pathlib import Path
from hanlin.base.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def python(code, *arguments, **options):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], text=True, capture_output=True, check=False, **options
    )


def test_a_second_writer_is_refused_until_the_first_is_killed(tmp_path):
    folder = tmp_path / "run"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match="Another process is writing") as caught, locked(folder):
            pass
        assert str(folder) in caught.value.problem.zh
    finally:
        holder.kill()
        holder.communicate()
    with locked(folder):
        pass


def test_a_lock_is_given_back_after_an_exception(tmp_path):
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        _ = 1 / 0
    with locked(tmp_path):
        pass


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(DiskError, match="run"), locked(tmp_path / "run"):
        pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_a_safe_point_and_a_second_one_does_not(number):
    before = signal.getsignal(number)
    with interruptible() as interrupt:
        assert not interrupt.requested
        os.kill(os.getpid(), number)
        assert interrupt.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_other_threads_leave_signals_alone():
    handlers = []

    def work():
        with interruptible() as interrupt:
            handlers.append((signal.getsignal(signal.SIGINT), interrupt.requested))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [(before, False)]


@pytest.mark.parametrize("module", ["hanlin", "hanlin.cli.main", "hanlin.base.config"])
def test_light_imports_stay_light(module):
    heavy = ("torch", "numpy", "transformers", "fastapi", "pyarrow", "tokenizers")
    code = f"import {module}, sys; print(*[name for name in {heavy} if name in sys.modules])"
    ran = python(code)
    assert (ran.returncode, ran.stdout.strip()) == (0, ""), ran.stderr


def test_help_brings_no_torch():
    code = (
        "import sys; sys.argv = ['hanlin', '--help']\n"
        "from hanlin.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules"
    )
    ran = python(code)
    assert ran.returncode == 0, ran.stderr
    assert "pretrain" in ran.stdout


ALONE = """
import importlib, sys
for name in sys.argv[1:]:
    room = ".".join(name.split(".")[:2])
    for other in [other for other in sys.modules if f"{other}.".startswith(f"{room}.")]:
        del sys.modules[other]
    try:
        importlib.import_module(name)
    except BaseException as error:
        if type(error).__name__ != "MissingExtra":  # a class that cannot be without a package that is not here
            sys.exit(f"{name}: {error!r}")
"""


def test_every_module_can_be_the_first_of_its_room():
    """An import that goes round in a circle works from one side alone; between rooms the layers forbid it."""
    found = [module.name for module in pkgutil.walk_packages(hanlin.__path__, "hanlin.")]
    modules = [name for name in found if not name.endswith("__main__")]  # that one runs the command
    assert len(modules) > 80
    ran = python(ALONE, *modules)
    assert ran.returncode == 0, ran.stdout + ran.stderr
