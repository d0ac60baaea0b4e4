"""The component, its driver and its executor on artifacts."""

import datetime
import json
import os

import pytest
from tfx.orchestration.portable import data_types
from tfx.types import channel_utils, standard_artifacts

from components import blessings, digests
from components.artifacts import InvarianceReport
from components.errors import DataError
from components.pusher import component, executor, rollback, versions
from components.pusher.baseline import LatestReleasedModel


def override(digest, days=1):
    expires = datetime.datetime.now(datetime.timezone.utc)
    expires += datetime.timedelta(days=days)
    who = {"who": "Ada", "why": "it is urgent"}
    return {**who, "digest": digest, "expires": expires.isoformat()}


def bless(folder, blessed, digest):
    artifact = standard_artifacts.ModelBlessing()
    artifact.uri = str(folder)
    folder.mkdir(exist_ok=True)
    artifact.set_int_custom_property("blessed", int(blessed))
    (folder / ("BLESSED" if blessed else "NOT_BLESSED")).touch()
    verdict = "PASS" if blessed else "FAIL"
    blessings.write(artifact, blessings.Blessing(blessed, verdict, digest))
    return artifact


@pytest.fixture
def pusher(serving):
    """Makes the component."""

    def make(override=None):
        model = channel_utils.as_channel([standard_artifacts.Model()])
        blessing = channel_utils.as_channel([standard_artifacts.ModelBlessing()])
        infra = channel_utils.as_channel([standard_artifacts.InfraBlessing()])
        return component.Pusher(model, blessing, infra, serving, override)

    return make


@pytest.fixture
def run(tmp_path, model, pusher):
    """Runs the executor of a component; returns its output."""

    def go(
        blessed=True,
        override=None,
        digest=None,
        change=None,
        infra=1,
        card=None,
        decision=None,
    ):
        artifact = standard_artifacts.Model()
        artifact.uri = os.path.dirname(model("a"))
        blessing = bless(
            tmp_path / "blessing", blessed, digest or digests.of_model(model("a"))
        )
        if change is not None:
            change()
        loaded = standard_artifacts.InfraBlessing()
        loaded.set_int_custom_property("blessed", infra or 0)
        report = InvarianceReport()
        report.uri = str(tmp_path / "report")
        for name, content in (("model_card", card), ("decision", decision)):
            if content is not None:
                os.makedirs(report.uri, exist_ok=True)
                with open(os.path.join(report.uri, f"{name}.json"), "w") as file:
                    json.dump(content, file)
        pushed = standard_artifacts.PushedModel()
        pushed.uri = str(tmp_path / "Pusher" / "pushed_model" / "1")
        executor.Executor().Do(
            {
                "model": [artifact],
                "model_blessing": [blessing],
                "infra_blessing": [] if infra is None else [loaded],
                "report": [report],
            },
            {"pushed_model": [pushed]},
            dict(pusher(override).exec_properties),
        )
        return pushed

    return go


def test_what_was_pushed_is_on_the_artifact(run, serving):
    pushed = run()
    version = versions.latest(serving)
    assert pushed.get_int_custom_property("pushed") == 1
    found = {
        key: pushed.get_string_custom_property(key)
        for key in ("pushed_destination", "pushed_version", "digest", "override")
    }
    assert found == {
        "pushed_destination": version.path,
        "pushed_version": str(version.number),
        "digest": version.told,
        "override": "",
    }
    assert digests.of_model(pushed.uri) == version.told
    assert os.path.isfile(os.path.join(pushed.uri, "assets.extra", "release.json"))


def test_a_refused_model_leaves_it_idle(run, serving):
    pushed = run(blessed=False)
    assert pushed.get_int_custom_property("pushed") == 0
    assert not os.path.exists(serving)


def test_an_override_is_on_the_artifact(run, model):
    given = override(digests.of_model(model("a")))
    pushed = run(blessed=False, override=given)
    assert pushed.get_int_custom_property("pushed") == 1
    assert json.loads(pushed.get_string_custom_property("override")) == given


def test_why_it_stayed_idle(run):
    pushed = run(blessed=False, override=override("b" * 32))
    assert pushed.get_int_custom_property("pushed") == 0
    told = pushed.get_string_custom_property("not_pushed")
    assert told.startswith(f"the override names {'b' * 32}")


def test_a_swapped_model_ends_in_a_sentence(run, model, serving, tmp_path):
    def swap():
        with open(os.path.join(model("a"), "saved_model.pb"), "w") as file:
            file.write("grapf")

    with pytest.raises(DataError, match="is not the one that was judged"):
        run(change=swap)
    with open(tmp_path / "Pusher" / "error.json") as file:
        told = json.load(file)
    assert told["exit"] == 2
    assert digests.of_model(model("a")) in told["sentence"]
    assert not os.path.exists(serving)


def test_an_edited_blessing_ends_in_a_sentence(run, serving, tmp_path):
    def edit():
        (tmp_path / "blessing" / "NOT_BLESSED").rename(tmp_path / "blessing/BLESSED")

    with pytest.raises(DataError, match="was changed"):
        run(blessed=False, change=edit)
    assert not os.path.exists(serving)


class TestDriver:
    @pytest.fixture
    def state(self, pusher):
        def ask(override=None):
            info = data_types.ExecutionInfo(
                exec_properties=dict(pusher(override).exec_properties)
            )
            return executor.Driver(None).run(info).exec_properties["state"].string_value

        return ask

    def test_the_cache_knows_what_is_served(self, state, push, serving):
        seen = [state()]
        first = push("a").version
        seen.append(state())
        assert state() == seen[-1]
        push("b")
        seen.append(state())
        versions.mark_rolled_back(serving, first.told, {})
        seen.append(state())
        assert len(set(seen)) == 4

    def test_and_whether_an_override_has_expired(self, state):
        assert state(override("a" * 32)) != state(override("a" * 32, days=-1))

    def test_the_override_is_in_the_key(self, pusher):
        one, other = (
            pusher(override(digest * 32)).exec_properties["override"] for digest in "ab"
        )
        assert one != other


@pytest.mark.parametrize(
    "given", [{}, {"digest": "a" * 32}, {**override("a" * 31)}, {**override("x" * 32)}]
)
def test_an_override_that_is_none_is_refused(pusher, given):
    with pytest.raises(ValueError, match="override has who|is no digest"):
        pusher(given)


@pytest.mark.parametrize(
    ("expires", "said"),
    [("soon", "Invalid isoformat"), ("2026-01-31T12:00:00", "has no zone")],
)
def test_an_override_expires_at_a_time_with_its_zone(pusher, expires, said):
    with pytest.raises(ValueError, match=said):
        pusher({**override("a" * 32), "expires": expires})


@pytest.mark.parametrize("loaded", [None, 0, 1])
def test_a_model_that_could_not_be_loaded_is_not_pushed(run, serving, loaded, model):
    pushed = run(infra=loaded)
    assert pushed.get_int_custom_property("pushed") == (loaded or 0)
    assert os.path.exists(serving) == bool(loaded)


def test_no_override_helps_a_model_that_could_not_be_loaded(run, serving, model):
    given = override(digests.of_model(model("a")))
    pushed = run(blessed=False, override=given, infra=0)
    assert pushed.get_int_custom_property("pushed") == 0
    told = pushed.get_string_custom_property("not_pushed")
    assert told == "it did not pass the load check"


CARD = {
    "model_details": {
        "name": "flights",
        "overview": "It <forecasts>.",
        "documentation": "Verdict: FAIL.",
        "version": {"date": "2026-01-31"},
    },
    "model_parameters": {},
    "quantitative_analysis": {},
    "considerations": {"limitations": [{"description": "no storms"}]},
}


def cards(version):
    """JSON and Markdown of a version's model card."""
    folder = os.path.join(version.path, "assets.extra")
    texts = []
    for name in ("model_card.json", "model_card.md"):
        with open(os.path.join(folder, name)) as file:
            texts.append(file.read())
    return json.loads(texts[0]), texts[1]


def test_the_card_lies_beside_the_model_and_is_no_part_of_it(run, serving, model):
    run(card=CARD)
    version = versions.latest(serving)
    found, text = cards(version)
    assert found == CARD
    assert "# flights" in text and "It &lt;forecasts&gt;." in text
    assert digests.of_model(version.path) == digests.of_model(model("a"))


def test_an_override_stands_in_the_card_and_survives_a_rollback(run, serving, model):
    given = override(digests.of_model(model("a")))
    run(blessed=False, override=given, card=CARD)
    first = versions.latest(serving)
    versions.publish(model("b"), serving, digests.of_model(model("b")), {})
    rollback.roll_back(serving, first.number)
    again = versions.latest(serving)
    assert again.number > first.number
    found, text = cards(again)
    assert found == cards(first)[0]
    limits = found["considerations"]["limitations"]
    assert given["why"] in limits[0]["description"]
    assert limits[1:] == CARD["considerations"]["limitations"]
    assert "Not released by its verdict" in text


def test_what_was_rolled_back_is_no_baseline(tmp_path, serving):
    models, blessed = [], []
    for i, digest in enumerate(("a" * 32, "b" * 32), 1):
        model = standard_artifacts.Model()
        model.id, model.uri = i, str(tmp_path / str(i))
        blessing = bless(tmp_path / f"blessing-{i}", True, digest)
        blessing.id = 10 + i
        blessing.set_int_custom_property("current_model_id", i)
        models.append(model)
        blessed.append(blessing)

    def found():
        given = {"model": list(models), "model_blessing": list(blessed)}
        resolved = LatestReleasedModel(serving).resolve_artifacts(None, given)
        return [model.id for model in resolved["model"]]

    assert found() == [2]
    versions.mark_rolled_back(serving, "b" * 32, {})
    assert found() == [1]
    versions.mark_rolled_back(serving, "a" * 32, {})
    assert found() == []


def test_the_release_tells_how_the_model_scored(run, serving):
    scored = {"eval": [{"slice": [], "examples": 9, "mean": 0.3, "below": []}]}
    run(decision={"scored": scored})
    assert versions.latest(serving).release["evaluated"] == scored
