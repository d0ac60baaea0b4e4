"""Whether a model is released, and its release."""

import dataclasses
import datetime
import os
from collections.abc import Mapping
from typing import Any

from components import digests
from components.blessings import Blessing
from components.errors import DataError
from components.model_card import card as model_card
from components.pusher import versions


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a push.

    Attributes:
      version: what is served and has this model; None where it was not pushed.
      why_not: a sentence, where there is more to say than that it is not blessed.
      override: by which it was released without a blessing, or None.
    """

    version: versions.Version | None = None
    why_not: str = ""
    override: Mapping[str, str] | None = None


def release(
    model_path: str,
    blessing: Blessing,
    serving: str,
    override: Mapping[str, str] | None = None,
    told: Mapping[str, Any] | None = None,
    card: Mapping[str, Any] | None = None,
) -> Outcome:
    """Releases a model that is blessed, or that an override names.

    Args:
      model_path: the SavedModel.
      blessing: what was decided of it.
      serving: the folder that holds the versions.
      override: `who`, `why`, `digest` and `expires` (ISO 8601 with its zone), or None.
      told: of the run, for `release.json`.
      card: the model card, or None; an override is added to it.

    Raises:
      DataError: this is not the model that was judged; the blessing does not say which
        one was; a version was changed in the folder; or that cannot be written.
    """
    if not blessing.blessed:
        why_not = None if override is None else _no_override(blessing, override)
        if override is None or why_not:
            return Outcome(why_not=why_not or "")
    digest = _verified(model_path, blessing)
    used = None if blessing.blessed else override
    with versions.alone(serving):
        return _released(model_path, digest, blessing, serving, used, told, card)


def _released(
    model_path: str,
    digest: str,
    blessing: Blessing,
    serving: str,
    used: Mapping[str, str] | None,
    told: Mapping[str, Any] | None,
    card: Mapping[str, Any] | None,
) -> Outcome:
    """Releases a model that may be; see `release`."""
    marks = versions.rolled_back(serving)
    pushed = versions.with_digest(serving, digest)
    if digest in marks:
        return Outcome(why_not=_rolled_back(digest, marks[digest], pushed))
    if pushed is not None:
        served = versions.latest(serving)
        if served is not None and served.number != pushed.number:
            return Outcome(why_not=_older(digest, pushed.number, served.number))
        return Outcome(pushed, override=used)
    content = {
        **(told or {}),
        **blessing.facts,
        "blessed": blessing.blessed,
        "override": used,
        "restored": None,
        "rolled_back_from": None,
    }
    del content["model_digest"]  # `digest`
    if card is not None:
        card = model_card.overridden(card, used)
    made = versions.publish(model_path, serving, digest, content, card)
    return Outcome(made, override=used)


def in_force(override: Mapping[str, str]) -> bool:
    """Whether an override has not expired."""
    return datetime.datetime.now(datetime.timezone.utc) <= expiry(override)


def expiry(override: Mapping[str, str]) -> datetime.datetime:
    """When an override expires.

    Raises:
      ValueError: it is no time, or has no zone.
    """
    found = datetime.datetime.fromisoformat(override["expires"])
    if found.tzinfo is None:
        raise ValueError(f"expires is {override['expires']!r}, which has no zone")
    return found


def _verified(model_path: str, blessing: Blessing) -> str:
    """Digest of the model, which is that of the blessing."""
    if blessing.model_digest is None:
        raise DataError(
            f"the blessing of {model_path} holds no digest, so nothing shows that it"
            " is this model's; let Evaluator and InvarianceValidator judge it"
        )
    found = digests.of_model(model_path)
    if found != blessing.model_digest:
        raise DataError(
            f"the model in {model_path} is not the one that was judged: its digest is"
            f" {found}, and that of the blessing {blessing.model_digest}; nothing was"
            f" pushed; remove {os.path.dirname(model_path.rstrip('/'))} and run again,"
            " which trains it anew"
        )
    return found


def _no_override(blessing: Blessing, override: Mapping[str, str]) -> str | None:
    if blessing.model_digest is not None and override["digest"] != (
        blessing.model_digest
    ):
        return (
            f"the override names {override['digest']}, and this model is"
            f" {blessing.model_digest}"
        )
    if not in_force(override):
        return (
            f"the override of {override['who']} expired at {override['expires']}; if"
            " the model is still served, tfx-irm rollback puts the one before it back"
        )
    return None


def _rolled_back(digest: str, mark: str, pushed: versions.Version | None) -> str:
    mend = f"remove {mark}"
    if pushed is not None:
        mend = f"tfx-irm rollback with --to {pushed.number} puts it back"
    return f"{digest} was rolled back, and is not pushed again; {mend}"


def _older(digest: str, number: int, served: int) -> str:
    return (
        f"{digest} was released before, as version {number}, and {served} came after"
        f" it; tfx-irm rollback with --to {number} puts it back"
    )
