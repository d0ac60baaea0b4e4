"""Small models, and the releases of them."""

import pytest

from components import digests
from components.blessings import Blessing
from components.pusher import release


@pytest.fixture
def model(tmp_path):
    """Makes a SavedModel of a text; the same one for the same text."""

    def make(text="weights"):
        path = tmp_path / "models" / text / "Format-Serving"
        if not path.exists():
            (path / "variables").mkdir(parents=True)
            (path / "saved_model.pb").write_text("graph")
            (path / "variables" / "data").write_text(text)
        return str(path)

    return make


@pytest.fixture
def serving(tmp_path):
    return str(tmp_path / "serving")


@pytest.fixture
def push(model, serving):
    """Releases a model as blessed; returns the outcome."""

    def go(text="weights", blessed=True, override=None, digest=None):
        path = model(text)
        digest = digest or digests.of_model(path)
        blessing = Blessing(blessed, "PASS" if blessed else "FAIL", digest, "e" * 32)
        return release.release(path, blessing, serving, override, {"run": "1"})

    return go
