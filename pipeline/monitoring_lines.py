"""What `tfx-irm monitor` says of a look."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from components.monitor import looks, watches
from pipeline import tables

_SHOWN = 12
_COLUMNS = 6


def told(record: Mapping[str, Any], dry_run: bool = False) -> Iterator[str]:
    """The lines of a look.

    Args:
      record: of `pipeline.monitoring.monitor`.
      dry_run: whether nothing was kept.
    """
    yield (
        f"version {record['version']}, look {record['look']}:"
        f" {record.get('rows', 0):,} new examples"
        f"{'' if record.get('labelled', True) else ', without labels'}"
    )
    override = record["released"]["override"]
    if override:
        yield (
            f"  released by an override ({tables.brief(override['who'])}): its verdict"
            f" is {record['released']['verdict']}, and no look makes it a better one"
        )
    for path in record["repeated"]:
        yield f"  {path} was counted before, and is not again"
    for name, one in record["environments"].items():
        new = "  new: not in the released evaluation" if one["new"] else ""
        yield f"  {tables.brief(name):<24} {one['rows']:>9,} {one['split']}{new}"
    if record.get("left_out"):
        yield f"  {record['left_out']:,} rows of no environment of the config"
    if record.get("cut_units"):
        yield (
            f"  {record['cut_units']:,} units (data.split.by) stood in the look before"
            " too; give each to one look, whole"
        )
    if record.get("missing"):
        yield f"  missing values: {_missing(record['missing'])}"
    if record.get("reference") is False:
        yield "  the release tells no scores; monitor.score_shift is not looked at"
    yield from _table(record["watches"])
    for name, why in record["not_followed"].items():
        yield f"  not followed: {name} {why}"
    yield record["verdict"]
    if record["not_followed"] and record["verdict"] == looks.HOLDS:
        checks, unseen = record["checks"], len(record["not_followed"])
        yield (
            f"  of {checks} check{'s' * (checks != 1)} {checks - unseen} can be"
            " followed; of the others this says nothing"
        )
    for reason in record["reasons"]:
        yield f"  {reason}"
    if dry_run:
        yield "dry run: nothing was kept"
    elif record["record"]:
        yield f"record {record['record']}"


def _missing(shares: Mapping[str, float]) -> str:
    """`x 100 %, seats 3 %`: of which columns most is missing."""
    most = sorted(shares.items(), key=lambda one: (-one[1], one[0]))
    told = [
        f"{tables.brief(name)} {100 * share:.3g} %" for name, share in most[:_COLUMNS]
    ]
    more = [f"{len(most) - _COLUMNS} more"] if len(most) > _COLUMNS else []
    return ", ".join([*told, *more])


def _table(listed: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The watches nearest to be broken, of each its nearer bound."""
    if not listed:
        yield "  nothing that is followed had data yet"
        return
    nearer: dict[tuple[str, ...], Mapping[str, Any]] = {}
    for one in sorted(listed, key=_distance):
        key = tuple(one[name] for name in ("check", "quantity", "split", "slice"))
        nearer.setdefault(key, one)
    nearest = list(nearer.values())
    cells = [("check", "slice", "value", "bound", "examples", "evidence")]
    for one in nearest[:_SHOWN]:
        sign = "<=" if one["side"] == "max" else ">="
        share = max(one["log_evidence"], 0.0) / one["log_needed"]
        what = one["check"]
        if what in (watches.SHIFT, watches.MISSING):
            what = f"{what}: {looks.told(one['quantity'])}"
        cells.append(
            (
                tables.brief(what, 48),
                tables.brief(f"{one['slice']} ({one['split']})", 40),
                f"{one['value_since' if one['broken'] else 'value']:.4g}",
                f"{sign} {one['bound']:.4g}",
                f"{one['examples']:,}",
                "BROKEN" if one["broken"] else f"{min(share, 0.99):.0%}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        pairs = zip(row, widths, strict=True)
        yield "  " + "  ".join(cell.ljust(width) for cell, width in pairs).rstrip()
    if len(nearest) > _SHOWN:
        yield f"  and {len(nearest) - _SHOWN} further from their bounds"


def _distance(one: Mapping[str, Any]) -> tuple[float, float]:
    """How much evidence is wanting; then how far the value is from the bound."""
    wanting = max(one["log_needed"] - one["log_evidence"], 0.0)
    return wanting, abs(one["bound"] - one["value"])
