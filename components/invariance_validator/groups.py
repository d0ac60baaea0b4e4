"""Which slices a check looks at, and what it says where there are none."""

from dataclasses import dataclass

from components.invariance_validator.kinds import (
    ENVIRONMENT,
    KINDS,
    OVERALL,
    Check,
    Rule,
    slice_name,
)
from components.invariance_validator.slices import (
    FAIL,
    INSUFFICIENT_DATA,
    Cell,
    Problem,
    SliceTable,
)


@dataclass(frozen=True)
class Group:
    """Cells that are judged, or compared with each other.

    Attributes:
      scope: the features sliced by; () is overall.
      split: eval, ood or, where both are compared, `eval / ood`.
      cells: of it.
      named: whether the config asks for it, so that it must not be empty.
    """

    scope: tuple[str, ...]
    split: str
    cells: list[Cell]
    named: bool


def groups_of(check: Check, table: SliceTable) -> list[Group]:
    """The slices of a check.

    A check that compares environments takes those of all its splits together; all else
    stays within a split. An ood_drop has two groups, trained and held out.
    """
    if check.kind == "floor":
        return _of_floor(check, table)
    here: tuple[str, ...] = (ENVIRONMENT,)
    if check.kind == "ood_drop":
        return [Group(here, s, table.cells(s, here), True) for s in check.splits]
    compares = KINDS[check.kind].compares
    splits = [s for s in check.splits if check.split_named or table.has_split(s)]
    groups = []
    for split in splits:
        scopes = check.over
        if scopes is None:
            singles = [(name,) for name in table.features(split)]
            scopes = tuple(singles) if compares else (OVERALL, *singles)
        for scope in scopes:
            named = check.over is not None or scope in (OVERALL, here)
            if compares and scope == here:
                continue
            groups.append(Group(scope, split, table.cells(split, scope), named))
    if compares and (check.over is None or here in check.over):
        cells = [c for s in splits for c in table.cells(s, here)]
        groups.insert(0, Group(here, " / ".join(splits), cells, True))
    return groups


def _of_floor(check: Check, table: SliceTable) -> list[Group]:
    """The named slice in each split that has it, or has to have it."""
    key = check.slice or ()
    scope, wanted = tuple(feature for feature, _ in key), frozenset(key)
    groups = []
    for split in check.splits:
        cells = [c for c in table.cells(split, scope) if frozenset(c.key) == wanted]
        pooled = table.counted(split, key)
        if not cells and pooled:
            cells = [Cell(split, key, expected=pooled)]
        if cells or check.split_named:
            groups.append(Group(scope, split, cells, True))
    return groups or [Group(scope, " / ".join(check.splits), [], True)]


def absence(
    check: Check, group: Group, table: SliceTable, rule: Rule
) -> Problem | None:
    """Why there is nothing to judge in a group that was asked for.

    Args:
      check: that asked.
      group: of `groups_of`.
      table: the slices.
      rule: the examples that a slice needs.

    Returns:
      The verdict (FAIL or INSUFFICIENT_DATA) and a sentence without its full stop;
      None where there is something to judge, or nothing was asked for.
    """
    alone = KINDS[check.kind].compares and len(group.cells) == 1
    if not group.named or (group.cells and not alone):
        return None
    features = " x ".join(group.scope) or "overall"
    if alone:
        only = f"{group.cells[0].name} is the only value of {features}"
        what = f"a {check.kind.replace('_', ' ')}"
        return FAIL, f"{only} in {group.split}, and {what} needs two"
    if check.slice is not None:
        name = slice_name(check.slice)
        return FAIL, f"there is no example of {name} in {group.split}"
    if ",".join(group.scope) in table.pooled().get(group.split, {}):
        least = rule.min_examples
        return INSUFFICIENT_DATA, (
            f"no value of {features} has {least:,} examples in {group.split}"
        )
    return FAIL, f"there is no slice by {features} in {group.split}"
