"""JSON lines: an object a line, plain, gzip or zstd.

Text stays text: what looks like a time is not made one. A key that a line lacks, and
`null`, are missing values.
"""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.json as pa_json

_BLOCK = 8 << 20


def batches(path: str) -> Iterator[pa.RecordBatch]:
    """The rows, some megabytes at a time; types are those of each block.

    Raises:
      OSError: a line is no JSON object.
    """
    for block in _blocks(path):
        table = _parse(block)
        times = {f.name: _as_text(f.type) for f in table.schema}
        times = {name: text for name, text in times.items() if text}
        if times:
            table = _parse(block, pa.schema(times.items()))
        yield from table.combine_chunks().to_batches()


def _as_text(inferred: pa.DataType) -> pa.DataType | None:
    """What keeps times, and lists of them, as they are written."""
    if pa.types.is_temporal(inferred):
        return pa.string()
    if pa.types.is_list(inferred) and pa.types.is_temporal(inferred.value_type):
        return pa.list_(pa.string())
    return None


def _parse(block: bytes, explicit: pa.Schema | None = None) -> pa.Table:
    try:
        return pa_json.read_json(
            pa.BufferReader(block),
            read_options=pa_json.ReadOptions(block_size=len(block) + 1),
            parse_options=pa_json.ParseOptions(explicit_schema=explicit),
        )
    except pa.ArrowNotImplementedError as error:  # names a type, but no column
        raise OSError(f"{error}; flatten it") from error


def _blocks(path: str) -> Iterator[bytes]:
    """Whole lines, about `_BLOCK` bytes of them, without those that are blank."""
    with pa.input_stream(path, compression="detect") as stream:
        rest = [stream.read(3).removeprefix(b"\xef\xbb\xbf")]
        while chunk := stream.read(_BLOCK):
            lines, newline, after = chunk.rpartition(b"\n")
            if not newline:  # within a line longer than a block
                rest.append(chunk)
                continue
            block = b"".join([*rest, lines])
            if block.strip():
                yield block
            rest = [after]
    block = b"".join(rest)
    if block.strip():
        yield block
