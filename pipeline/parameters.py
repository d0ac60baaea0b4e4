"""Values of the parameters that a compiled pipeline takes when it is sent."""

import dataclasses
from collections.abc import Callable
from typing import Any

from components.bigquery import FORMAT as BIGQUERY
from components.errors import DataError
from components.files import is_url
from components.source_manifest import listing, matching, spans
from pipeline.config_types import nearest
from pipeline.errors import ConfigError
from pipeline.tables import SENTENCE, brief

MANIFEST = "SourceManifest"  # id of the stage that takes the fingerprint


@dataclasses.dataclass(frozen=True)
class Asked:
    """What whoever submits asks for; None for what the config says."""

    method: str | None = None
    span: str | None = None


def chosen(made: Any, asked: Asked) -> dict[str, str]:
    """Values of `method` and `span`, as far as the pipeline has them.

    Args:
      made: of `compiling.runtime_of`.
      asked: by the arguments.

    Raises:
      ConfigError: the pipeline was not compiled for that method, or has no spans.
      DataError: it is no span.
    """
    # Not `made.span`: that imports TFX, and a wrong argument is answered at once.
    has_spans = made.has_spans
    values = {}
    if made.methods:
        values["method"] = ""
    if has_spans:
        values["span"] = ""
    if asked.method in made.methods:
        values["method"] = str(asked.method)
    elif asked.method not in (None, made.config.method_label):
        raise ConfigError(
            f"--method is {asked.method!r}, which is none of"
            f" {made.config.place('train', 'methods')}"
            f"{nearest(asked.method, made.methods)}; a compiled pipeline knows those"
            f" alone, so add {asked.method}: {{}} there"
        )
    if asked.span:
        if not has_spans:
            raise ConfigError(
                f"--span is {asked.span!r}, and no source of {made.config.file} has"
                " spans; leave it out, or write {SPAN} into a path (docs/sources.md)"
            )
        spans.up_to(made.config.data.sources, asked.span)
        values["span"] = asked.span
    return values


def fingerprint(made: Any, span: str | None, say: Callable[..., None]) -> str:
    """Of the sources, as they are seen from here; empty where they are not.

    Args:
      made: of `compiling.runtime_of`.
      span: the newest to read, or None.
      say: says in a line why it is empty.

    Raises:
      DataError: there is nothing in a bucket where a source should be, or no such span.
    """
    sources = spans.up_to(made.config.data.sources, span)
    try:
        files = listing.build_manifest(sources)
    except matching.NoSpan:
        raise
    except matching.NoMatch as error:
        if is_url(error.pattern):
            raise
        _tell(say, str(error))  # a volume of the cluster, which is not here
        return ""
    except DataError as error:
        _tell(say, str(error))
        return ""
    moving = [one for one in files if one.format == BIGQUERY and one.version]
    if moving:
        _tell(say, moving[0].version)
        return ""
    return listing.fingerprint(files)


def _tell(say: Callable[..., None], why: str) -> None:
    said = brief(why, SENTENCE)
    say(f"sources  not fingerprinted from here, so {MANIFEST} is run anew: {said}")


def with_cache(job: dict[str, Any]) -> None:
    """Lets the cache answer for the stage whose fingerprint a run was given."""
    task = job["pipelineSpec"]["root"]["dag"]["tasks"][MANIFEST]
    task["cachingOptions"] = {"enableCache": True}
