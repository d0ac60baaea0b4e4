"""Makes the environment: picks interpreter and stack, installs the pinned versions.

Standard library only, and it runs on Python 3.8, since it runs before anything is
installed. `make venv` calls it. Exit 0 done; 2 something is missing on this system,
said in one sentence before anything is downloaded; 1 an installation failed.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stacks import (
    Interpreter,
    MissingError,
    candidates,
    choose,
    dotted,
    find,
    probe,
    this_system,
)

ROOT = Path(__file__).resolve().parent.parent
STAMP = ".tfx-irm.json"


class InstallError(Exception):
    """An installation failed; its own output, above, says why."""


def pip_settings(listing: str) -> dict[str, str]:
    """Reads the output of `pip config list`: a variable beats a file's section.

    Args:
      listing: lines such as `global.index-url='...'` and `:env:.cert='...'`.

    Returns:
      Option name -> value, for `pip install`.
    """
    ranks = {"global": 0, "install": 1, ":env:": 2}
    best: dict[str, tuple[int, str]] = {}
    for line in listing.splitlines():
        match = re.fullmatch(r"(global|install|:env:)\.([\w-]+)=(.*)", line.strip())
        if match:
            rank, name = ranks[match[1]], match[2]
            if rank >= best.get(name, (-1, ""))[0]:
                best[name] = rank, str(ast.literal_eval(match[3]))
    return {name: value for name, (_, value) in best.items()}


def uv_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Returns pip's settings as the variables that uv reads."""
    names = {
        "index-url": "UV_DEFAULT_INDEX",
        "extra-index-url": "UV_INDEX",
        "trusted-host": "UV_INSECURE_HOST",
        "cert": "SSL_CERT_FILE",
        "client-cert": "SSL_CLIENT_CERT",
        "proxy": "ALL_PROXY",
        "timeout": "UV_HTTP_TIMEOUT",
        "default-timeout": "UV_HTTP_TIMEOUT",  # as its variable is called
    }
    found = {
        names[key]: " ".join(value.split())
        for key, value in settings.items()
        if key in names and value
    }
    if "UV_INDEX" in found:
        found["UV_INDEX_STRATEGY"] = "unsafe-best-match"  # as pip: the indexes are one
    links = settings.get("find-links", "").split()
    links = [link for link in links if "://" in link or os.path.exists(link)]
    if links:
        found["UV_FIND_LINKS"] = ",".join(links)
    return found


def run(command: Sequence[str | Path], **variables: str) -> bool:
    """Runs `command` in the repository; returns whether it succeeded."""
    environ = {**variables, **os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    # Some machines forbid bytecode, and importing tfx then takes 43 s and not 13.
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    words = [str(part) for part in command]
    return subprocess.run(words, env=environ, cwd=ROOT, check=False).returncode == 0


def install_pins(python: Path, files: Sequence[str]) -> bool:
    """Installs pinned requirements, with uv or, where that fails, with pip.

    Args:
      python: the environment's interpreter.
      files: requirements, relative to the repository; the first one pins uv.

    Returns:
      Whether one of them succeeded.
    """
    pins = [option for name in files for option in ("-r", name)]
    pip = [str(python), "-m", "pip", "install", "--quiet", "--no-deps"]
    listing = subprocess.run(
        [str(python), "-m", "pip", "config", "list"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    lines = (ROOT / files[0]).read_text().splitlines()
    if run([*pip, *(line for line in lines if line.startswith("uv=="))]):
        uv = [str(python.parent / "uv"), "pip", "install", "--python", str(python)]
        # The pins hold for setuptools too, where a package is built from source.
        options = ["--quiet", "--no-deps", "--compile-bytecode"]
        options += ["--build-constraints", files[0]]
        if run([*uv, *options, *pins], **uv_environment(pip_settings(listing))):
            return True
    print("uv did not succeed; pip is tried, which takes longer.", flush=True)
    return run([*pip, *pins])


def install_project(python: Path) -> bool:
    """Installs the project, editable, with the setuptools that is already there."""
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    return run([python, "-m", "pip", "install", *options, "--editable", "."])


def digest(names: Iterable[str]) -> str:
    """Returns a digest of the repository's files `names`."""
    content = b"".join((ROOT / name).read_bytes() for name in names)
    return hashlib.sha256(content).hexdigest()


def read_stamp(venv: Path) -> dict[str, Any]:
    """Returns what `venv` was made from; {} where it is not whole, or was moved."""
    try:
        stamp: dict[str, Any] = json.loads((venv / STAMP).read_text())
    except (OSError, ValueError):
        return {}
    whole = os.access(venv / "bin" / "python", os.X_OK)
    return stamp if whole and stamp["venv"] == str(venv) else {}


def is_pinned(stamp: Mapping[str, Any], named: Interpreter | None, gpu: bool) -> bool:
    """Says whether a stamp is of today's pins, of `named` and with or without GPU."""
    return (
        bool(stamp)
        and stamp["gpu"] == gpu
        and (named is None or os.path.realpath(named.path) == stamp["python"])
        and stamp["pins"] == digest(stamp["files"])
    )


def make(
    venv: Path, found: Sequence[Interpreter], asked: str, gpu: bool
) -> dict[str, Any]:
    """Makes `venv` anew and installs the pinned versions.

    Args:
      venv: where the environment goes; one that is there is replaced.
      found: the interpreters to choose from.
      asked: the one that the user named, or "".
      gpu: whether CUDA libraries are installed too.

    Returns:
      The stamp of the new environment, without the project's.

    Raises:
      MissingError: something is missing; nothing was changed or downloaded.
      InstallError: the pinned versions could not be installed.
    """
    python, stack = choose(found, this_system(), asked)
    if venv.exists() and any(venv.iterdir()) and not (venv / "pyvenv.cfg").exists():
        raise MissingError(f"{venv} has other things in it: name another VENV.")
    files = stack.files(gpu)
    print(
        f"Stack {stack.name} with Python {dotted(python.version)} ({python.path}): "
        f"{' and '.join(files)} into {venv}",
        flush=True,
    )
    if not run([python.path, "-m", "venv", "--clear", venv]):
        raise InstallError(f"{venv} could not be made")
    if not install_pins(venv / "bin" / "python", files):
        raise InstallError(f"{' and '.join(files)} could not be installed")
    return {
        "venv": str(venv),
        "python": os.path.realpath(python.path),
        "gpu": gpu,
        "files": files,
        "pins": digest(files),
    }


def set_up(venv: Path, asked: str, gpu: bool) -> None:
    """Makes or completes `venv`; does nothing where it is as the pins say.

    Args:
      venv: where the environment goes, absolute.
      asked: the interpreter that the user named, or "".
      gpu: whether CUDA libraries are installed too.

    Raises:
      MissingError: something is missing; nothing was changed or downloaded.
      InstallError: an installation failed.
    """
    start = time.monotonic()
    named = find(asked, os.environ) if asked else None
    stamp = read_stamp(venv)
    if (asked and not named) or not is_pinned(stamp, named, gpu):
        paths = [] if asked else candidates(os.environ)
        found = [python for python in [named, *map(probe, paths)] if python]
        stamp = make(venv, found, asked, gpu)
    project = digest(["pyproject.toml"])
    if stamp.get("project") != project:
        if not install_project(venv / "bin" / "python"):
            raise InstallError("the project itself could not be installed")
        (venv / STAMP).write_text(json.dumps({**stamp, "project": project}, indent=2))
        print(f"Ready after {time.monotonic() - start:.0f} s.", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the script and returns its exit status: 0, 1 or 2."""
    parser = argparse.ArgumentParser(description="Makes the environment.")
    parser.add_argument("--venv", default=".venv", help="where, from the repository")
    parser.add_argument("--python", default="", help="which interpreter")
    parser.add_argument("--gpu", default="", help="1: with CUDA libraries")
    args = parser.parse_args(arguments)
    venv = os.path.abspath(ROOT / Path(args.venv).expanduser())
    try:
        set_up(Path(venv), args.python, args.gpu in ("1", "true", "yes"))
    except MissingError as error:
        print(f"make venv: {error}", file=sys.stderr)
        return 2
    except InstallError as error:
        print(f"make venv: {error}; the lines above say why.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
