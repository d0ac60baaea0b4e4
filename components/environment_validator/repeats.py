"""How often rows and keys occur, in bounded memory: a bottom-k sketch of their hashes.

The k smallest distinct hashes are kept, each with its count in every cell (split and
environment). Up to k distinct rows the counts are exact. Beyond, they are those of a
uniform sample of the distinct rows: all copies of a row have its hash, so that a share
of duplicated rows is estimated without bias, with a standard error of about
sqrt(share / k).

Beyer et al. 2007, On synopses for distinct-value estimation under multiset operations.
"""

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np

ROW, UNLABELLED, KEY, SPLIT_KEY = "row", "unlabelled", "key", "split_key"
MOST_HASHES = 250_000
Cell = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class Sketch:
    """Counts of hashes by cell, in the order of the hashes.

    Attributes:
      hashes: uint64 [N], rising; one entry for each hash and cell.
      cells: int64 [N], index of the cell.
      counts: int64 [N].
      complete: whether no hash was left out.
    """

    hashes: np.ndarray
    cells: np.ndarray
    counts: np.ndarray
    complete: bool = True


@dataclasses.dataclass(frozen=True)
class Repeats:
    """The sketches of each kind of hash.

    Attributes:
      cells: (split, environment), indexed by `Sketch.cells`.
      sketches: kind -> sketch.
    """

    cells: tuple[Cell, ...]
    sketches: Mapping[str, Sketch]


def count(hashes: Mapping[str, np.ndarray], cell: Cell) -> Repeats:
    """Of the rows of one cell.

    Args:
      hashes: kind -> uint64 [rows].
      cell: split and environment.
    """
    sketches = {}
    for kind, values in hashes.items():
        found, counts = np.unique(values, return_counts=True)
        zeros = np.zeros(len(found), np.int64)
        sketches[kind] = _cut(Sketch(found, zeros, counts))
    return Repeats((cell,), sketches)


def merge(parts: Iterable[Repeats]) -> Repeats:
    """Of all rows together; the order of the parts does not matter."""
    found = list(parts)
    cells = tuple(sorted({cell for part in found for cell in part.cells}))
    index = {cell: i for i, cell in enumerate(cells)}
    kinds = sorted({kind for part in found for kind in part.sketches})
    sketches = {}
    for kind in kinds:
        mine = [part for part in found if kind in part.sketches]
        renamed = [
            np.array([index[cell] for cell in part.cells])[part.sketches[kind].cells]
            for part in mine
        ]
        sketches[kind] = _sum([part.sketches[kind] for part in mine], renamed)
    return Repeats(cells, sketches)


def _sum(sketches: list[Sketch], cells: list[np.ndarray]) -> Sketch:
    if len(sketches) == 1:
        one = sketches[0]
        return Sketch(one.hashes, cells[0], one.counts, one.complete)
    hashes = np.concatenate([s.hashes for s in sketches])
    joint = np.concatenate(cells)
    counts = np.concatenate([s.counts for s in sketches])
    order = np.lexsort((joint, hashes))
    hashes, joint, counts = hashes[order], joint[order], counts[order]
    first = np.ones(len(hashes), bool)
    first[1:] = (hashes[1:] != hashes[:-1]) | (joint[1:] != joint[:-1])
    starts = np.flatnonzero(first)
    summed = np.add.reduceat(counts, starts) if len(starts) else counts
    complete = all(s.complete for s in sketches)
    # A part that left hashes out knows nothing of those above its largest.
    known = min((s.hashes[-1] for s in sketches if not s.complete), default=None)
    kept = slice(None)
    if known is not None:
        kept = slice(np.searchsorted(hashes[starts], known, side="right"))
    return _cut(
        Sketch(hashes[starts][kept], joint[starts][kept], summed[kept], complete)
    )


def _cut(sketch: Sketch) -> Sketch:
    """The smallest hashes, whole."""
    distinct = np.flatnonzero(np.diff(sketch.hashes)) + 1
    if len(distinct) < MOST_HASHES:
        return sketch
    end = distinct[MOST_HASHES - 1]
    return Sketch(
        sketch.hashes[:end], sketch.cells[:end], sketch.counts[:end], complete=False
    )


def table(sketch: Sketch, cells: int) -> np.ndarray:
    """Counts by hash and cell: int64 [distinct hashes, cells]."""
    distinct, row = np.unique(sketch.hashes, return_inverse=True)
    counts = np.zeros((len(distinct), cells), np.int64)
    counts[row.reshape(-1), sketch.cells] = sketch.counts
    return counts
