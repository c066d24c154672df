"""Compiles what is compiled. Without a C compiler everything works all the same, and slower."""

from __future__ import annotations

import sysconfig
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODULES = (
    "fiducial.core._shape",
    "fiducial.flow._table",
    "fiducial.flow.formats._yaml_lines",
    "fiducial.store._overwrite",
)


class Compile(BuildHookInterface):  # type: ignore[type-arg]
    """Puts each extension beside its source, from where editable installs use it and wheels take it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before a wheel is built, an editable one too."""
        root = Path(self.root)
        extensions = [_source(module).with_suffix(sysconfig.get_config_var("EXT_SUFFIX")) for module in MODULES]
        for extension in extensions:
            (root / extension).unlink(missing_ok=True)
        try:
            _compile(root)
        # A compiler fails in many ways, `SystemExit` among them, and none shall keep the package from installing.
        except (Exception, SystemExit) as error:  # noqa: BLE001
            self.app.display_warning(f"fiducial: not compiled, observing and recording will be slower: {error}")
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["artifacts"] += [extension.as_posix() for extension in extensions]


def _source(module: str) -> Path:
    return Path("src", *module.split(".")).with_suffix(".pyx")


def _compile(root: Path) -> None:
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    with TemporaryDirectory() as scratch:
        sources = [Extension(module, [str(root / _source(module))]) for module in MODULES]
        command = build_ext(Distribution({"ext_modules": cythonize(sources, build_dir=scratch, quiet=True)}))
        command.build_temp = scratch
        command.build_lib = str(root / "src")
        command.parallel = True  # as many at once as there are cores
        command.ensure_finalized()
        command.run()
