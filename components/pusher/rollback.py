"""Puts an older version back, and sees to it that what it replaces stays away.

TensorFlow Serving serves the highest number. So the older version is copied as a new,
higher one: in one rename, like a release, and the history stays as it was.

What is gone back from is marked as bad. Not so where this takes a rollback back, which
says nothing against what was served in between; nor where a model comes that only an
override released, for no check has shown it to be better.
"""

import dataclasses
from collections.abc import Sequence

from components import digests
from components.errors import DataError
from components.pusher import release, versions

_OF_A_VERSION = ("version", "digest", "released_at")


@dataclasses.dataclass(frozen=True)
class Rollback:
    """What became of it.

    Attributes:
      replaced: the version that was served.
      digest: its model's.
      marked: whether that is not pushed again, and no baseline.
      restored: the older version.
      served: the copy of that, which is served now.
    """

    replaced: versions.Version
    digest: str
    marked: bool
    restored: versions.Version
    served: versions.Version

    @property
    def lines(self) -> list[str]:
        """For the terminal."""
        marked = "is not pushed again" if self.marked else "is not marked as bad"
        return [
            f"replaced {self.replaced.path}",
            f"         {self.digest} {marked}",
            f"serving  {self.served.path}, as version {self.restored.number} was",
        ]


def roll_back(serving: str, to: int | None = None, of: int | None = None) -> Rollback:
    """Puts a version back.

    Args:
      serving: the folder that holds the versions; may be a URL.
      to: number of the version; None for the last that was blessed, is another model
        than the served one, and was not rolled back itself.
      of: number of the version that is to be replaced; None for whatever is served.

    Raises:
      DataError: nothing is served, or another version than `of`; there is no such
        version, or its files are not those that it was released with; nothing has
        changed then.
    """
    if not versions.versions(serving):
        raise DataError(f"{serving} holds no version, so there is nothing to roll back")
    with versions.alone(serving):
        known = versions.versions(serving)
        if of is not None and known[-1].number != of:
            raise DataError(
                f"{serving} serves version {known[-1].number} by now, not {of}; look at"
                " that"
            )
        return _rolled_back(serving, known, to)


def _rolled_back(
    serving: str, known: Sequence[versions.Version], to: int | None
) -> Rollback:
    served = known[-1]
    digest = served.told or digests.of_model(served.path)
    older = _named(known, to, digest) if to is not None else _last(known, digest)
    versions.verify(older)
    assert older.told is not None and older.release is not None
    marked = _is_back(known, digest, older)
    replaced = {"version": served.number, "digest": digest}
    if marked:  # first, so that no run brings it back if this one dies in between
        mark = {**replaced, "for": older.number}
        versions.mark_rolled_back(serving, digest, mark)
    versions.unmark_rolled_back(serving, older.told)
    told = {k: v for k, v in older.release.items() if k not in _OF_A_VERSION}
    told |= {"restored": older.number, "rolled_back_from": replaced}
    card = versions.card(older)
    made = versions.publish(older.path, serving, older.told, told, card)
    return Rollback(served, digest, marked, older, made)


def _is_back(
    known: Sequence[versions.Version], digest: str, older: versions.Version
) -> bool:
    """Whether a served model is found to be bad, and not its rollback undone."""
    if (older.release or {}).get("blessed") is not True:
        return False
    return _came(known, older.told) < _came(known, digest)


def _came(known: Sequence[versions.Version], digest: str | None) -> int:
    """The version as which a model was first released, before any rollback."""
    copies = [version for version in known if version.told == digest]
    told = [version.number for version in copies]
    told += [version.restored for version in copies if version.restored is not None]
    return min(told, default=known[-1].number)


def _last(known: Sequence[versions.Version], digest: str) -> versions.Version:
    """The last one that was blessed, before the served one."""
    serving = known[-1].path.rpartition("/")[0]
    gone = versions.rolled_back(serving)
    for version in reversed(known[:-1]):
        blessed = (version.release or {}).get("blessed") is True
        if blessed and version.told not in (None, digest) and version.told not in gone:
            return version
    raise DataError(
        f"{serving} has no version to roll back to: none before {known[-1].number} is"
        " another model that was blessed and not rolled back"
        f"{'; --to names one all the same' if len(known) > 1 else ''}"
    )


def _named(known: Sequence[versions.Version], to: int, digest: str) -> versions.Version:
    """The one of a number, if it may be served."""
    serving, served = known[-1].path.rpartition("/")[0], known[-1].number
    numbers = [version.number for version in known]
    if to not in numbers:
        last = ", ".join(map(str, reversed(numbers[-5:])))
        raise DataError(f"--to: {serving} has no version {to}; the last are {last}")
    version = known[numbers.index(to)]
    if to == served:
        raise DataError(f"--to: version {to} is served already; name an older one")
    if version.release is None or version.told is None:
        raise DataError(
            f"--to: version {to} in {serving} has no legible {digests.RELEASE_FILE}, so"
            " nothing shows what it is; name one that tfx-irm released"
        )
    if version.told == digest:
        raise DataError(
            f"--to: version {to} is the same model as {served}, which is served;"
            " name another"
        )
    override = version.release.get("override")
    lasts = override is not None and release.in_force(override)
    if version.release.get("blessed") is not True and not lasts:
        raise DataError(
            f"--to: version {to} was never blessed, and the override that released it"
            " has expired; name another"
        )
    return version
