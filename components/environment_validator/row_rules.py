"""Rules on rows and keys that are there more than once."""

import itertools

import numpy as np

from components.environment_validator import repeats
from components.environment_validator.evidence import TRAIN, Evidence
from components.environment_validator.findings import Asked, percent

_MORE_THAN_CHANCE = 4


def judge(evidence: Evidence, asked: Asked) -> None:
    """Duplicates within and across environments and splits, and keys."""
    found = evidence.repeats
    tables = {
        kind: repeats.table(sketch, len(found.cells))
        for kind, sketch in found.sketches.items()
    }
    if not tables:
        return
    rows = tables[repeats.ROW]
    twins = _within(rows, found.cells, asked)
    _across(rows, found.cells, twins, asked)
    if evidence.sampled.task != "regression":  # of which each label may be another
        _conflicts(rows, tables[repeats.UNLABELLED], asked)
    if repeats.KEY in tables:
        _keys(tables[repeats.KEY], found.cells, asked)
    if repeats.SPLIT_KEY in tables:
        _split_keys(tables[repeats.SPLIT_KEY], found.cells, asked)


def repeated(counts: np.ndarray) -> float:
    """The share of rows that are copies of an earlier one.

    Args:
      counts: int64 [distinct rows], how often each occurs.
    """
    total = counts.sum()
    return float(np.maximum(counts - 1, 0).sum() / total) if total else 0.0


def _within(
    rows: np.ndarray, cells: tuple[repeats.Cell, ...], asked: Asked
) -> list[float]:
    """Returns the share of rows of each cell that have a twin in it."""
    twins = []
    for i, (split, name) in enumerate(cells):
        share = repeated(rows[:, i])
        total = max(int(rows[:, i].sum()), 1)
        twins.append(float(rows[rows[:, i] > 1, i].sum() / total))
        if share > asked.bound("duplicates"):
            asked.add(
                "duplicates",
                [name],
                share,
                f"{percent(share)} of the rows of {name} in {split} are copies of"
                " another; they count twice in training and make intervals too narrow,"
                " so remove them at the source, or split by a key that keeps them"
                " together",
                split=split,
            )
    return twins


def _across(
    rows: np.ndarray,
    cells: tuple[repeats.Cell, ...],
    twins: list[float],
    asked: Asked,
) -> None:
    for i, j in itertools.combinations(range(len(cells)), 2):
        name_i, name_j = cells[i][1], cells[j][1]
        both = (rows[:, i] > 0) & (rows[:, j] > 0)
        shares = [rows[both, k].sum() / max(rows[:, k].sum(), 1) for k in (i, j)]
        share = float(max(shares))
        # Rows of few distinct values coincide everywhere: that is no copying.
        if share <= _MORE_THAN_CHANCE * max(twins[i], twins[j]):
            continue
        of = cells[i] if shares[0] >= shares[1] else cells[j]
        other = cells[j] if of == cells[i] else cells[i]
        if name_i != name_j and share > asked.bound("duplicates_across_environments"):
            asked.add(
                "duplicates_across_environments",
                [of[1], other[1]],
                share,
                f"{percent(share)} of the rows of {of[1]} ({of[0]}) are in {other[1]}"
                f" ({other[0]}) too; an environment is where a row came from, so find"
                " out which one they belong to and remove them from the other",
                split=of[0],
            )
        if name_i == name_j and share > asked.bound("duplicates_across_splits"):
            asked.add(
                "duplicates_across_splits",
                [name_i],
                share,
                f"{percent(share)} of the rows of {name_i} in {of[0]} are in {other[0]}"
                " too, so that evaluation sees what was trained on; remove the copies"
                " or split by a key that they share (data.split.by)",
                split=of[0],
            )


def _conflicts(rows: np.ndarray, unlabelled: np.ndarray, asked: Asked) -> None:
    share = repeated(unlabelled.sum(axis=1)) - repeated(rows.sum(axis=1))
    if share > asked.bound("conflicting_labels"):
        asked.add(
            "conflicting_labels",
            [],
            share,
            f"{percent(share)} of all rows have a twin that differs in the label alone;"
            " find out which of the two labels is right",
        )


def _keys(keys: np.ndarray, cells: tuple[repeats.Cell, ...], asked: Asked) -> None:
    for name in sorted({name for _, name in cells}):
        mine = [i for i, (_, n) in enumerate(cells) if n == name]
        share = repeated(keys[:, mine].sum(axis=1))
        if share > asked.bound("duplicate_keys"):
            asked.add(
                "duplicate_keys",
                [name],
                share,
                f"{percent(share)} of the rows of {name} have the key of another row"
                " (inspect.duplicate_keys.key); remove the copies, or name the columns"
                " that do tell rows apart",
            )


def _split_keys(
    keys: np.ndarray, cells: tuple[repeats.Cell, ...], asked: Asked
) -> None:
    train = np.array([split == TRAIN for split, _ in cells])
    if not train.any() or train.all():
        return
    trained = keys[:, train].sum(axis=1) > 0
    evaluated = keys[:, ~train].sum(axis=1) > 0
    share = float((trained & evaluated).sum() / max(evaluated.sum(), 1))
    if share > asked.bound("split_keys"):
        which = [
            i for i in np.flatnonzero(~train) if (trained & (keys[:, i] > 0)).any()
        ]
        names = sorted({cells[i][1] for i in which})
        asked.add(
            "split_keys",
            names,
            share,
            f"{percent(share)} of the keys that are evaluated (data.split.by) are"
            f" trained on too, in {', '.join(names)}; what belongs together must stay"
            " on one side, so correct the column that splits or the key",
        )
