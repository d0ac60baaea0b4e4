"""Imports of what is heavy."""

import gc
import importlib
import sys


def quickly(*modules: str) -> None:
    """Imports modules without collecting garbage, of which there is none.

    TFX brings 10,000 modules. While they are made the collector looks through all of
    their objects again and again, a third of the time. They stay, so it need not look
    at them later either.

    Args:
      *modules: dotted names.
    """
    if all(name in sys.modules for name in modules):
        return
    enabled = gc.isenabled()
    gc.disable()
    try:
        for name in modules:
            importlib.import_module(name)
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
