"""Fetch what the chat page needs from npm into `page/vendor/`; by itself, without anything that Hanlin depends on.

`python -m hanlin.serve.vendor` does it in a checkout or an installation; building a wheel does it by `hatch_build.py`.
The lock file names each package's version and SHA-512, which npm checks; no package runs a script of its own.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PAGE = Path(__file__).parent / "page"
FOLDER = PAGE / "vendor"

FILES = {
    "marked.js": "marked/lib/marked.esm.js",
    "dompurify.js": "dompurify/dist/purify.es.mjs",
    "highlight.js": "@highlightjs/cdn-assets/es/highlight.min.js",
    "katex.js": "katex/dist/katex.min.js",
    "katex.css": "katex/dist/katex.min.css",
    "licences/marked.txt": "marked/LICENSE",
    "licences/dompurify.txt": "dompurify/LICENSE",
    "licences/highlight.txt": "@highlightjs/cdn-assets/LICENSE",
    "licences/katex.txt": "katex/LICENSE",
}
"""What is kept, and where in node_modules it comes from; the fonts of KaTeX besides, in the format that all browsers read."""
FONTS = "katex/dist/fonts"

PATIENCE = 180
"""Seconds that npm may take."""


class VendorError(Exception):
    """There is no npm, or it failed; the message is its own."""


def version() -> str:
    """What the lock file stands for, in 16 hexadecimal digits."""
    return hashlib.sha256((PAGE / "package-lock.json").read_bytes()).hexdigest()[:16]


def is_current() -> bool:
    """Whether the files are there, and are those of the lock file."""
    stamp = FOLDER / "version.txt"
    return stamp.is_file() and stamp.read_text("ascii").strip() == version()


def fetch() -> None:
    """Put all files into `FOLDER`, whole or not at all; raise `VendorError`."""
    if shutil.which("npm") is None:
        raise VendorError("no npm on this machine")
    with tempfile.TemporaryDirectory(dir=PAGE, prefix=".vendor-") as place:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(PAGE / name, place)
        _install(Path(place))
        made = Path(place) / "vendor"
        _collect(Path(place) / "node_modules", made)
        shutil.rmtree(FOLDER, ignore_errors=True)
        made.replace(FOLDER)


def _install(place: Path) -> None:
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"]
    try:
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=PATIENCE)
    except (subprocess.TimeoutExpired, OSError) as error:
        raise VendorError(str(error)) from error
    if done.returncode:
        raise VendorError(f"{' '.join(command)}\n{done.stderr.strip()}")


def _collect(modules: Path, target: Path) -> None:
    fonts = {f"fonts/{font.name}": f"{FONTS}/{font.name}" for font in (modules / FONTS).glob("*.woff2")}
    for name, source in {**FILES, **fonts}.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(modules / source, path)
    (target / "version.txt").write_text(version() + "\n", "ascii")


def main() -> None:
    """Fetch unless everything is there."""
    try:
        if not is_current():
            fetch()
    except (VendorError, OSError) as error:
        sys.exit(str(error))
    sys.stdout.write(f"{FOLDER}\n")


if __name__ == "__main__":
    main()
