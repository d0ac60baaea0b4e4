"""The file of an override: complete and legible, or one sentence."""

import datetime

import pytest

from pipeline import cli, override
from pipeline.config_io import load_config
from pipeline.errors import ConfigError

TODAY = datetime.datetime.now(datetime.timezone.utc).date()
NEXT_WEEK = (TODAY + datetime.timedelta(days=7)).isoformat()
GOOD = {"who": "Ada", "why": "it is urgent", "digest": "a1" * 16, "expires": NEXT_WEEK}


@pytest.fixture
def read(project):
    """Reads the override of some keys; a key of None is left out."""

    def go(**changes):
        keys = {k: v for k, v in {**GOOD, **changes}.items() if v is not None}
        path = project.folder / "override.yaml"
        path.write_text("".join(f"{k}: {v}\n" for k, v in keys.items()))
        sets = ["push.override=override.yaml"]
        return override.read(load_config(str(project.config), sets=sets))

    return go


def test_none_is_named(project):
    assert override.read(load_config(str(project.config))) is None


def test_a_date_lasts_until_its_end_in_utc(read):
    assert read() == {**GOOD, "expires": f"{NEXT_WEEK}T23:59:59+00:00"}


@pytest.mark.parametrize("zone", ["+02:00", "Z"])
def test_a_time_with_its_zone(read, zone):
    hour = {"+02:00": "10", "Z": "12"}[zone]
    found = read(expires=f"'{NEXT_WEEK}T12:00:00{zone}'")
    assert found["expires"] == f"{NEXT_WEEK}T{hour}:00:00+00:00"


def test_one_that_expired_is_legible(read):
    """Where the model is pushed it is judged; the file is not wrong."""
    assert read(expires="2020-01-31")["expires"] == "2020-01-31T23:59:59+00:00"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"who": None}, "override.yaml: who is missing; it takes who, why, digest"),
        ({"why": "''"}, "override.yaml, line 2: why is ''; write it as text"),
        ({"why": "7"}, "line 2: why is 7; write it as text, in quotes"),
        ({"digest": "abc"}, "line 3: digest is 'abc'; give the 32 hexadecimal digits"),
        ({"digest": "A1" * 16}, "line 3: digest is 'A1A1"),
        ({"expires": "soon"}, "line 4: expires is 'soon'; write a date such as"),
        ({"expires": f"{NEXT_WEEK}T12:00:00"}, "line 4: expires is .* write a date"),
        ({"expires": "2026-02-30"}, "line 4: expires is .* write a date"),
        ({"expires": "9999-12-31"}, "lasts at most 90 days; shorten it"),
        ({"expires": "0001-01-01T00:00+10:00"}, "line 4: expires is .* write a date"),
        ({"reason": "x"}, "line 5: reason is no key of an override; legal are"),
        ({"diggest": "x"}, "diggest is no key of an override; did you mean 'digest'"),
    ],
)
def test_what_is_wrong(read, changes, said):
    with pytest.raises(ConfigError, match=said):
        read(**changes)


@pytest.mark.parametrize("content", ["", "- a\n", "x\n"])
def test_no_keys(project, content):
    (project.folder / "override.yaml").write_text(content)
    sets = ["push.override=override.yaml"]
    with pytest.raises(ConfigError, match="holds no keys"):
        override.read(load_config(str(project.config), sets=sets))


def test_the_longest_that_is_taken(read):
    last = TODAY + datetime.timedelta(days=override.MOST_DAYS - 1)
    assert read(expires=last.isoformat())
    with pytest.raises(ConfigError, match="at most 90 days"):
        read(expires=(last + datetime.timedelta(days=2)).isoformat())


@pytest.mark.parametrize(
    ("expires", "said"),
    [
        (NEXT_WEEK, f"may pass without, until {NEXT_WEEK}T23:59:59+00:00 (Ada)"),
        ("2020-01-31", "may pass without, no more, as it expired at 2020-01-31T23"),
    ],
)
def test_validate_tells_it(project, capsys, read, expires, said):
    read(expires=expires)
    arguments = ["validate", str(project.config), "--set"]
    assert cli.main([*arguments, "push.override=override.yaml"]) == 0
    assert f"override    model {GOOD['digest']} {said}" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["validate", "run"])
def test_the_commands_refuse_it_before_anything_runs(project, command, capsys):
    arguments = [command, str(project.config), "--set", "push.override=none.yaml"]
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert "with --set push.override=none.yaml: push.override is " in error
    assert "none.yaml, which cannot be read (No such file or directory)" in error
    assert not (project.folder / "runs-root").exists()
