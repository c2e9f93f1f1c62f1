"""Compile the kernel with the machine's C compiler; by itself, without anything that Hanlin depends on.

`python -m hanlin.kernel.build` does it in a checkout; installing the package does it by `hatch_build.py`.
"""

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FOLDER = Path(__file__).parent
SOURCES = FOLDER / "source"
BUILT = FOLDER / "built"
"""A folder of its own: beside the modules, a library would look like one of them."""

_FLAGS = ("-std=gnu11", "-O3", "-fPIC", "-fvisibility=hidden", "-pthread", "-ffp-contract=off")
_X86 = {
    "_avx2.c": ("-mavx2", "-mfma", "-mf16c"),
    "_avx512.c": (
        *("-mavx2", "-mfma", "-mf16c", "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512vnni"),
        "-mprefer-vector-width=512",
    ),
}
"""What files of an instruction set may use: the rest of the kernel asks the machine before it calls them."""


class BuildError(Exception):
    """There is no compiler, or it failed; the message is its own."""


def library_path() -> Path:
    """Where the library of these sources is or would be: its name changes with them, so none is loaded that is old."""
    digest = hashlib.sha256()
    for path in (*sorted(SOURCES.glob("*.[ch]")), Path(__file__)):
        digest.update(path.name.encode() + path.read_bytes())
    return BUILT / f"hanlin_kernel-{digest.hexdigest()[:16]}.so"


def build(extra: tuple[str, ...] = (), target: Path | None = None) -> Path:
    """Compile and link all sources, with `extra` flags, as `target` (default: `library_path()`); raise `BuildError`."""
    target = library_path() if target is None else target
    compiler = shlex.split(os.environ.get("CC", "cc"))
    if not compiler or shutil.which(compiler[0]) is None:
        raise BuildError(f"no C compiler: {' '.join(compiler)}")
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = [Path(place) / f"{source.stem}.o" for source in sorted(SOURCES.glob("*.c"))]
        calls = [
            [
                *compiler,
                *_FLAGS,
                *_machine_flags(object),
                *extra,
                "-c",
                SOURCES / f"{object.stem}.c",
                "-o",
                object,
            ]
            for object in objects
        ]
        list(pool.map(_call, calls))
        target.parent.mkdir(exist_ok=True)
        linked = target.with_name(f".{target.name}.{os.getpid()}")  # in the same folder, to be renamed
        _call([*compiler, "-shared", "-pthread", *extra, *objects, "-lm", "-o", linked])
        linked.replace(target)
    return target


def _machine_flags(object: Path) -> tuple[str, ...]:
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return ()
    return next((flags for ending, flags in _X86.items() if f"{object.stem}.c".endswith(ending)), ())


def _call(command: list[str | Path]) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise BuildError(f"{shlex.join(str(part) for part in command)}\n{done.stderr}")


def main() -> None:
    """Build in place, and remove what older sources made."""
    try:
        built = build()
    except BuildError as error:
        sys.exit(str(error))
    for path in set(BUILT.glob("hanlin_kernel-*.so")) - {built}:
        path.unlink()
    sys.stdout.write(f"{built}\n")


if __name__ == "__main__":
    main()
