"""Installing compiles the kernel, where there is a C compiler, and fetches what the page needs, where there is npm.

Without one or the other the package is the same but for it.
"""

import importlib.util
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

KERNEL = Path("src/hanlin/kernel/build.py")
VENDOR = Path("src/hanlin/serve/vendor.py")


class HanlinHook(BuildHookInterface):
    """Put what is made beside the package's other files, and say in the wheel's name which machines it is for."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Before a wheel is put together; an editable installation finds everything in place."""
        editable = version == "editable"
        self._add_kernel(build_data, editable)
        self._add_page(build_data, editable)

    def _add_kernel(self, build_data: dict[str, Any], editable: bool) -> None:
        kernel = _load(Path(self.root) / KERNEL)
        try:
            built = kernel.library_path()
            if not built.is_file():
                kernel.build()
        except (kernel.BuildError, OSError) as error:
            self.app.display_warning(f"Without the native kernel (PyTorch does its work, slower): {error}")
            return
        if editable:
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
        build_data["force_include"][str(built)] = f"hanlin/kernel/built/{built.name}"

    def _add_page(self, build_data: dict[str, Any], editable: bool) -> None:
        vendor = _load(Path(self.root) / VENDOR)
        try:
            if not vendor.is_current():
                vendor.fetch()
        except (vendor.VendorError, OSError) as error:
            self.app.display_warning(
                f"Without the libraries of the chat page (it shows answers as plain text): {error}\n"
                "`python -m hanlin.serve.vendor` fetches them later."
            )
            return
        if not editable:
            build_data["force_include"][str(vendor.FOLDER)] = "hanlin/serve/page/vendor"


def _load(path: Path) -> ModuleType:
    """By its path: what the package needs is not installed yet."""
    spec = importlib.util.spec_from_file_location(f"hanlin_{path.parent.name}_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
