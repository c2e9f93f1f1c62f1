"""The `python-docs` source: the documentation inside the running Python, read without importing foreign code.

First the language reference topics that `pydoc` ships, then the docstrings of the standard library, then
those of installed packages, each module one page: its name, its docstring, and every class and function with
its signature as a heading. All in sorted order.
"""

import ast
import importlib.metadata
import inspect
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from hanlin.base.errors import DataError
from hanlin.base.language import Text
from hanlin.corpus.config import PythonDocsSource
from hanlin.corpus.intake import Intake, Raw

_SKIPPED_FOLDERS = frozenset(
    {
        "test",
        "tests",
        "testing",
        "idlelib",
        "lib2to3",
        "turtledemo",
        "site-packages",
        "__pycache__",
        "_vendor",
    }
)
_LICENCE = "PSF-2.0"


def read_python_docs(source: PythonDocsSource, intake: Intake) -> Iterator[Raw]:
    """Yield the pages. Raises `DataError` for a package that is not installed."""
    distributions = chosen_distributions(source)
    yield from _topics(intake)
    yield from _standard_library(intake)
    for distribution in distributions:
        intake.counts["packages"] += 1
        yield from _package(distribution, intake)


def chosen_distributions(source: PythonDocsSource) -> list[importlib.metadata.Distribution]:
    """The installed distributions that the source names, by name. Raises `DataError` for a missing one."""
    folders = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    found = {}
    for distribution in importlib.metadata.distributions(path=folders):
        found[_canonical(distribution.metadata["Name"])] = distribution
    names = (
        sorted(found) if source.packages == "all" else sorted({_canonical(name) for name in source.packages})
    )
    for name in names:
        if name not in found:
            raise DataError(
                Text(
                    f"The package '{name}' is not installed in this Python.",
                    f"当前 Python 没有安装软件包“{name}”。",
                ),
                Text(
                    f"Install it (pip install {name}) or take it out of packages.",
                    f"请安装它（pip install {name}）或从 packages 中去掉。",
                ),
            )
    return [found[name] for name in names]


def _canonical(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _topics(intake: Intake) -> Iterator[Raw]:
    """The reference topics but those that stand inside a longer one, as `for` does in `compound`: parts of
    one text must not come to lie on two sides of the split."""
    from pydoc_data.topics import topics

    lines = {name: {line.strip() for line in text.splitlines()} - {""} for name, text in topics.items()}
    for name, text in sorted(topics.items()):
        longer = (lines[other] for other, more in topics.items() if len(more) > len(text))
        if any(len(lines[name] & other) > 0.8 * len(lines[name]) for other in longer):
            intake.counts["reference topics inside a longer one"] += 1
            continue
        intake.counts["reference topics"] += 1
        yield Raw(text, f"python-docs/topics/{name}", _LICENCE)


def _standard_library(intake: Intake) -> Iterator[Raw]:
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py")):
        inside = PurePosixPath(path.relative_to(root).as_posix())
        if not _SKIPPED_FOLDERS & set(inside.parts):
            yield from _module(
                path,
                inside,
                f"python-docs/python-{sys.version_info[0]}.{sys.version_info[1]}",
                _LICENCE,
                intake,
            )


def _package(distribution: importlib.metadata.Distribution, intake: Intake) -> Iterator[Raw]:
    licence = _licence_of(distribution)
    origin = f"python-docs/{distribution.metadata['Name']}-{distribution.version}"
    for file in sorted(distribution.files or [], key=str):
        if file.suffix == ".py" and ".." not in file.parts and not _SKIPPED_FOLDERS & set(file.parts):
            yield from _module(Path(str(distribution.locate_file(file))), file, origin, licence, intake)


def _licence_of(distribution: importlib.metadata.Distribution) -> str:
    """What the package's metadata states: the SPDX expression, a short licence field, or the classifiers."""
    metadata = distribution.metadata
    stated = next((metadata[key] for key in ("License-Expression", "License") if key in metadata), "")
    if stated and "\n" not in stated.strip() and len(stated) < 80:
        return stated.strip()
    classifiers = [c for c in metadata.get_all("Classifier") or [] if c.startswith("License ::")]
    return "; ".join(classifier.split(" :: ")[-1] for classifier in classifiers)


def _module(path: Path, inside: PurePosixPath, origin: str, licence: str, intake: Intake) -> Iterator[Raw]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        intake.counts["modules that do not parse"] += 1
        return
    intake.counts["modules"] += 1
    parts = inside.with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
    page = module_page(tree, name)
    if page:
        intake.counts["modules with documentation"] += 1
        yield Raw(page, f"{origin}/{name}", licence)


def module_page(tree: ast.Module, name: str) -> str:
    """The page of a module: name, docstring, then each documented class and function; "" if there is none.

    A docstring that stood before on the page (of an alias, or of an asynchronous twin) is not repeated.
    """
    seen = {_docstring(tree)}
    sections = [section for section in (*seen, *_members(tree, "", seen)) if section]
    return "\n\n".join((name, *sections)) + "\n" if sections else ""


def _members(node: ast.Module | ast.ClassDef, prefix: str, seen: set[str]) -> Iterator[str]:
    for member in node.body:
        if not isinstance(member, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        docstring = _docstring(member)
        if docstring and docstring not in seen:
            seen.add(docstring)
            yield f"{_signature(member, prefix)}\n\n{docstring}"
        if isinstance(member, ast.ClassDef):
            yield from _members(member, f"{prefix}{member.name}.", seen)


def _signature(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, prefix: str) -> str:
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(ast.unparse(base) for base in node.bases)
        return f"class {prefix}{node.name}({bases})" if bases else f"class {prefix}{node.name}"
    keyword = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{keyword} {prefix}{node.name}({ast.unparse(node.args)}){returns}"


def _docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    return inspect.cleandoc(ast.get_docstring(node, clean=False) or "").strip()
