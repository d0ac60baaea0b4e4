"""What a parameter of a run changes in settings that were made when it was compiled.

A compiled pipeline is a file that is run many times. `method` is given anew at each
run, and what it changes lies beside the settings, under its name:

    {"steps": 2000, ..., "variants": {"irm_v1": {"steps": 500, ...}}}
"""

from collections.abc import Mapping
from typing import Any

from components.errors import DataError

VARIANTS = "variants"
METHOD_KEY = "method"


def with_variants(
    settings: Mapping[str, Any], variants: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Puts beside settings what they are under each other method.

    Args:
      settings: those of the config's own method.
      variants: method -> whole settings.

    Returns:
      The settings as they are where there is no variant.
    """
    return {**settings, VARIANTS: dict(variants)} if variants else dict(settings)


def chosen(settings: Mapping[str, Any], method: str | None) -> dict[str, Any]:
    """The settings under a method.

    Args:
      settings: of `with_variants`.
      method: name of a variant; empty or None for the config's own.

    Returns:
      Settings without variants.

    Raises:
      DataError: there is no such variant.
    """
    own = {key: value for key, value in settings.items() if key != VARIANTS}
    if not method:
        return own
    known: Mapping[str, Mapping[str, Any]] = settings.get(VARIANTS) or {}
    if method not in known:
        legal = ", ".join(sorted(known)) or "none"
        raise DataError(
            f"the parameter method is {method!r}, which is none of this pipeline's"
            f" ({legal}); leave it empty for the config's own, or name the method in"
            " train.methods and compile anew"
        )
    return dict(known[method])
