"""Which environment a row is of, where a column tells it."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components import bigquery
from components.errors import DataError
from components.multi_env_example_gen import query_rows, readers
from components.multi_env_example_gen.columns import Column, ColumnWidened, flat, join
from components.multi_env_example_gen.naming import Naming, bin_names
from components.source_manifest.listing import SourceFile

UNITS = {"year": 4, "quarter": 7, "month": 7, "day": 10}  # characters of an ISO date
_DATE = r"^\d{4}-\d{2}-\d{2}"


def name_environments(values: pa.Array, naming: Naming, where: str) -> pa.Array:
    """The environment of each row.

    Args:
      values: of the column; [rows], none missing.
      naming: how they tell it.
      where: file, for the error.

    Returns:
      string [rows]; null where the row is of none.

    Raises:
      DataError: bins of what are no numbers, dates of what are none.
    """
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if naming.bins:
        return _binned(values, naming, where)
    texts = values.cast(pa.string())
    if naming.by is not None:
        return _dated(texts, naming, where)
    if naming.groups:
        known = pa.array(list(naming.groups), pa.string())
        names = pa.array(list(naming.groups.values()), pa.string())
        return names.take(pc.index_in(texts, known))
    return texts


def names_in(
    files: Sequence[SourceFile], naming: Naming, on_bad_row: str
) -> tuple[str, ...]:
    """All environments that the rows of some files are of, sorted.

    Args:
      files: of one source.
      naming: how a column tells them.
      on_bad_row: see `bad_rows`.

    Raises:
      DataError: the column is not there; as `name_environments` and `readers.batches`.
    """
    name = naming.column
    found = {}
    for file in files:
        schema = readers.schema_of(file.path, file.format, file.options)
        if name in schema:
            found[file.path] = schema[name]
        elif file.format not in readers.HEADERLESS:
            raise DataError(
                f"data.environments.environment_column: {file.path} has no column"
                f" {name!r}; its columns are {', '.join(schema)}"
            )
    column = join(found, name) if found else Column("null")
    while True:
        try:
            names = {
                n for file in files for n in _names(file, column, naming, on_bad_row)
            }
        except ColumnWidened as wider:
            column = Column(wider.kind, wider.is_list or column.is_list)
        else:
            return tuple(sorted(names))


def _names(
    file: SourceFile, column: Column, naming: Naming, on_bad_row: str
) -> set[str]:
    if file.format == bigquery.FORMAT:
        return _names_of_query(file, naming)
    source = (file.path, file.format)
    bad = readers.bad_rows(*source, on_bad_row)
    schema = {naming.column: column}
    found: set[str] = set()
    for part in readers.ranges_of(*source, file.options):
        for batch in readers.batches(*source, part, schema, file.options, bad):
            if naming.column in batch.schema.names:
                values = batch.column(batch.schema.get_field_index(naming.column))
                names = name_environments(flat(values).drop_null(), naming, file.path)
                found.update(pc.unique(names.drop_null()).to_pylist())
    return found


def _names_of_query(file: SourceFile, naming: Naming) -> set[str]:
    values = query_rows.distinct(file.options, naming.column, file.path)
    names = name_environments(values.drop_null(), naming, file.path)
    return set(names.drop_null().to_pylist())


def _binned(values: pa.Array, naming: Naming, where: str) -> pa.Array:
    try:
        numbers = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"{where}: column {naming.column!r} holds {values[0].as_py()!r}, and"
            " data.environments.bins needs numbers; list its values instead"
        ) from error
    index = np.searchsorted(naming.bins, numbers, side="right")
    return pa.array(bin_names(naming.bins)).take(pa.array(index))


def _dated(texts: pa.Array, naming: Naming, where: str) -> pa.Array:
    right = pc.match_substring_regex(texts, _DATE)
    if not pc.all(right).as_py() and len(texts):
        wrong = texts.filter(pc.invert(right))[0].as_py()
        raise DataError(
            f"{where}: column {naming.column!r} holds {wrong[:80]!r}, which is no date;"
            f" data.environments.by: {naming.by} needs dates such as 2024-02-29"
        )
    assert naming.by is not None
    names = pc.utf8_slice_codeunits(texts, 0, UNITS[naming.by])
    if naming.by != "quarter":
        return names
    quarters = {f"-{m:02}": f"-Q{(m + 2) // 3}" for m in range(1, 13)}
    encoded = names.dictionary_encode()
    found = [name[:4] + quarters[name[4:]] for name in encoded.dictionary.to_pylist()]
    return pa.array(found, pa.string()).take(encoded.indices)
