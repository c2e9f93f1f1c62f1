"""The kernel under the compiler's sanitizers: each `fuzz_*.c` here is a program that calls it with much at random."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from hanlin.kernel.build import SOURCES, build

SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O1", "-g1")
PROGRAMS = sorted(Path(__file__).parent.glob("fuzz_*.c"))
COMPILER = shlex.split(os.environ.get("CC", "cc"))


def compile(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMPILER, *SANITIZERS, "-pthread", *arguments], capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library, built with sanitizers."""
    if shutil.which(COMPILER[0]) is None:
        pytest.skip(f"no C compiler: {COMPILER[0]}")
    place = tmp_path_factory.mktemp("sanitized")
    empty = place / "empty.c"
    empty.write_text("int main(void) { return 0; }\n")
    tried = compile(empty, "-o", place / "empty")
    if tried.returncode:
        pytest.skip(f"the compiler has no sanitizers: {tried.stderr}")
    return build(SANITIZERS, place / "kernel.so")


@pytest.mark.parametrize("program", PROGRAMS, ids=[path.stem for path in PROGRAMS])
def test_nothing_is_touched_that_is_not_the_kernels(sanitized: Path, program: Path, tmp_path: Path) -> None:
    made = tmp_path / program.stem
    done = compile("-I", SOURCES, program, sanitized, f"-Wl,-rpath,{sanitized.parent}", "-lm", "-o", made)
    assert done.returncode == 0, done.stderr
    ran = subprocess.run([made], capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
