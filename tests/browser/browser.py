"""A headless browser for tests: the system's Chromium, driven by node.

What node needs has its versions and digests in `package-lock.json`, and is fetched once
into the environment that runs the tests.
"""

import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import pytest

FOLDER = pathlib.Path(__file__).parent
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_NEEDED = ("package.json", "package-lock.json")


def browser() -> str:
    """Path of the browser; skips the test where it, node or npm is missing."""
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if found is None:
        pytest.skip(f"no headless browser: none of {', '.join(_BROWSERS)} is there")
    for name in ("node", "npm"):
        if shutil.which(name) is None:
            pytest.skip(f"no {name}, which drives the browser")
    return found


def tools() -> pathlib.Path:
    """Folder with what the driver imports; skips the test where npm cannot fetch it."""
    lock = (FOLDER / "package-lock.json").read_bytes()
    name = f"tfx-irm-browser-{hashlib.sha256(lock).hexdigest()[:16]}"
    kept = pathlib.Path(sys.prefix) / "share" / name
    if kept.is_dir():
        return kept
    kept.parent.mkdir(parents=True, exist_ok=True)
    made = pathlib.Path(tempfile.mkdtemp(dir=kept.parent, prefix=f"{name}-"))
    for file in _NEEDED:
        shutil.copy(FOLDER / file, made)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    try:
        subprocess.run(
            command,
            cwd=made,
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
    except subprocess.SubprocessError as error:
        shutil.rmtree(made)
        said = str(getattr(error, "stderr", None) or error)[-300:]
        pytest.skip(f"npm cannot fetch what drives the browser: {said}")
    try:
        made.rename(kept)  # at once, as other tests may do the same
    except OSError:
        shutil.rmtree(made)
    return kept


def look(
    page: pathlib.Path, out: pathlib.Path, width: int = 1280, axe: bool = False
) -> dict:
    """What a reader of a page meets; screenshots and a PDF are left in `out`.

    Args:
      page: HTML file.
      out: folder, made if need be.
      width: of the window, pixels.
      axe: whether to look for what keeps people from reading it.

    Returns:
      What `look.cjs` prints.
    """
    out.mkdir(exist_ok=True)
    arguments = [str(tools()), browser(), str(page), str(out), str(width)]
    done = subprocess.run(
        ["node", str(FOLDER / "look.cjs"), *arguments, *(["axe"] if axe else [])],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
