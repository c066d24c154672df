"""Compiles `fiducial.flow._table`. Without a C compiler `DictTable` does its work."""

from __future__ import annotations

import sysconfig
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODULE = "fiducial.flow._table"
SOURCE = "src/fiducial/flow/_table.pyx"


class CompileTable(BuildHookInterface):  # type: ignore[type-arg]
    """Puts the extension beside its source, from where editable installs use it and wheels take it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before a wheel is built, an editable one too."""
        extension = Path(SOURCE).with_name("_table" + sysconfig.get_config_var("EXT_SUFFIX"))
        root = Path(self.root)
        (root / extension).unlink(missing_ok=True)
        try:
            _compile(root)
        # A compiler fails in many ways, `SystemExit` among them, and none shall keep the package from installing.
        except (Exception, SystemExit) as error:  # noqa: BLE001
            self.app.display_warning(f"fiducial: not compiled, observing will be slower: {error}")
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["artifacts"].append(extension.as_posix())


def _compile(root: Path) -> None:
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    with TemporaryDirectory() as scratch:
        modules = cythonize([Extension(MODULE, [str(root / SOURCE)])], build_dir=scratch, quiet=True)
        command = build_ext(Distribution({"ext_modules": modules}))
        command.build_temp = scratch
        command.build_lib = str(root / "src")
        command.ensure_finalized()
        command.run()
