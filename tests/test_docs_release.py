"""What docs/release.md shows works as it stands, and lists what there is."""

import pathlib
import re
import shlex

import pytest
import yaml

from components import digests
from components.blessings import Blessing
from components.pusher import release
from pipeline import cli, override, pruning
from pipeline.card_config import Card
from pipeline.config import Push
from pipeline.config_io import load_config

ROOT = pathlib.Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "release.md").read_text()


def snippets(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_the_config_and_the_override_are_legal(tmp_path):
    push, card, file = snippets("yaml")
    Push.model_validate(yaml.safe_load(push)["push"])
    assert Card.model_validate(yaml.safe_load(card)["card"]).owners[0].contact
    (tmp_path / "override.yaml").write_text(file)
    config = load_config(str(ROOT / "examples" / "flights" / "config.yaml"))
    path = str(tmp_path / "override.yaml")
    named = config.push.model_copy(update={"override": path})
    found = override.read(config.model_copy(update={"push": named}))
    assert list(found) == list(override.KEYS)
    assert f"more than {override.MOST_DAYS} days" in TEXT


@pytest.mark.parametrize("command", "".join(snippets("bash")).splitlines())
def test_the_commands_parse(command):
    options = cli._parser().parse_args(shlex.split(command)[1:])
    assert callable(options.do)


def test_every_fact_of_a_release_is_listed(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "saved_model.pb").write_text("graph")
    model = str(tmp_path / "model")
    digest = digests.of_model(model)
    blessing = Blessing(True, "PASS", digest, "e" * 32, "c" * 32)
    told = {"run": "1", "pipeline": "p", "model": "m"}
    serving = str(tmp_path / "serving")
    made = release.release(model, blessing, serving, None, told).version
    listed = TEXT[TEXT.index("release.json    ") : TEXT.index("serving/rolled_back/")]
    for key in made.release:
        if not key.endswith("_fingerprint"):
            assert key in listed, key


def test_every_kind_that_is_pruned_is_listed():
    for kind in pruning.KINDS:
        assert f"`{kind}/`" in TEXT
