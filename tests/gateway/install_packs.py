"""Installs the servers that packs were held against, in the versions that the packs name, into a folder of their own.

python tests/gateway/install_packs.py FOLDER
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from fiducial.charter.packs.shipped import load_pack, pack_names


def wanted(registry: str, joint: str) -> list[str]:
    """What to install from a registry, each with its version."""
    servers = {(each.package, each.version) for name in pack_names() for each in load_pack(name).servers}
    return sorted(
        f"{package.partition(':')[2]}{joint}{version}"
        for package, version in servers
        if package.startswith(registry + ":")
    )


EARLIER = ("freshdesk-mcp", "mcp-server-sqlite")
"""Servers that run with the first version of the MCP SDK alone, and do not say so."""


def main(folder: Path) -> None:
    """Raises `CalledProcessError` when something cannot be installed."""
    for package in wanted("pypi", "=="):
        name = package.partition("==")[0]
        more = ["mcp<2"] if name in EARLIER else []
        pip = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--no-warn-conflicts",
            "--upgrade",
            "--target",
            str(folder / "pypi" / name),
        ]
        subprocess.run([*pip, package, *more], check=True)
    beside = Path(sys.executable).parent / "npm"
    npm = str(beside) if beside.exists() else shutil.which("npm")
    if npm is None:
        raise SystemExit("there is no `npm` to install the servers with that are written for Node")
    quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    subprocess.run([npm, "install", *quiet, "--prefix", str(folder), *wanted("npm", "@")], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
