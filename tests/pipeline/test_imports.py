"""Importing without the collector."""

import gc
import sys

import pytest

from pipeline import imports


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Makes a module that notes whether the collector was on."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(name, last=""):
        text = f"import gc\nfound = gc.isenabled()\n{last}\n"
        (tmp_path / f"{name}.py").write_text(text)
        return name

    yield make
    gc.unfreeze()


def test_the_collector_is_off_within_and_on_after(module):
    assert gc.isenabled()
    imports.quickly(module("quiet_one"), module("quiet_two"))
    assert not sys.modules["quiet_one"].found
    assert not sys.modules["quiet_two"].found
    assert gc.isenabled()


def test_whoever_had_it_off_keeps_it_off(module):
    gc.disable()
    try:
        imports.quickly(module("quiet_three"))
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_an_import_that_fails_leaves_it_on(module):
    with pytest.raises(ValueError, match="no"):
        imports.quickly(module("quiet_four", "raise ValueError('no')"))
    assert gc.isenabled()


def test_what_was_imported_is_not_looked_at_again(module):
    gc.unfreeze()
    imports.quickly(module("quiet_five", "kept = [[] for _ in range(1000)]"))
    assert gc.get_freeze_count() > 1000


def test_a_second_time_nothing_happens(module):
    name = module("quiet_six")
    imports.quickly(name)
    before = gc.get_freeze_count()
    imports.quickly(name)
    assert gc.get_freeze_count() == before
