"""Files by URL, through Beam's filesystems: `gs://`, `s3://` and whatever else it has.

Credentials and endpoints are those that the services' own clients find (variables,
files, the machine's account), and in a Beam pipeline what its options say.

Beam tries again for minutes what fails, credentials that are missing among it. So a
process asks each bucket of `gs://` and `s3://` once before, which fails in seconds.
"""

import copy
import io
import logging
import re
import threading
from collections.abc import Iterator
from typing import IO, Any

from components.errors import DataError

_PATIENCE = 10  # seconds for a bucket's first answer
_answered: set[str] = set()  # buckets
_kept: dict[str, Any] = {}  # scheme -> its client, and the options of that
_lock = threading.Lock()


def find(pattern: str) -> list[str]:
    """URLs that match, sorted; `**/` matches folders in folders, and none.

    Raises:
      DataError: they cannot be listed.
    """
    _ask(pattern)
    from apache_beam.io.filesystem import FileSystem

    service = _service(pattern)
    prefix = _before_wildcards(pattern)
    try:
        if prefix == pattern:
            return [pattern] if service.exists(pattern) else []
        listed = [path for path, _ in service.list_files(prefix)]
    except Exception as error:
        raise _failed(pattern, "listed", error) from error
    wanted = [re.compile(FileSystem.translate_pattern(p)) for p in _depths(pattern)]
    return sorted(
        path
        for path in listed
        if not path.endswith("/") and any(one.match(path) for one in wanted)
    )


def _before_wildcards(pattern: str) -> str:
    return re.split(r"[\[*?]", pattern, maxsplit=1)[0]


def _depths(pattern: str) -> list[str]:
    """Beam takes `a/**/b` for two slashes at least; here one is enough."""
    head, deep, tail = pattern.partition("/**/")
    if not deep:
        return [pattern]
    return [f"{head}{gap}{rest}" for rest in _depths(tail) for gap in (deep, "/")]


def stat(url: str) -> tuple[int, str]:
    """Size, and the checksum that the service keeps.

    Raises:
      FileNotFoundError: there is no such file.
      DataError: it cannot be asked for.
    """
    _ask(url, listing=False)
    service = _service(url)
    try:
        return int(service.size(url)), str(service.checksum(url))
    except Exception as error:
        raise _failed(url, "read", error) from error


def size(url: str) -> int:
    """Bytes; raises as `stat` does."""
    _ask(url, listing=False)
    try:
        return int(_service(url).size(url))
    except Exception as error:
        raise _failed(url, "read", error) from error


def open_file(url: str) -> IO[bytes]:
    """The bytes as they lie there; can seek.

    Raises:
      FileNotFoundError, DataError: as `stat`, also from every read.
    """
    _ask(url, listing=False)
    try:
        opened = _service(url).open(url)
    except Exception as error:
        raise _failed(url, "read", error) from error
    return io.BufferedReader(_Reader(url, opened), 1 << 16)


class _Other:
    """Any other filesystem of Beam's, asked like its clients of `gs://` and `s3://`."""

    def __init__(self, filesystem: Any):
        self._filesystem = filesystem
        self.exists, self.size = filesystem.exists, filesystem.size
        self.checksum = filesystem.checksum

    def list_files(self, prefix: str) -> Iterator[tuple[str, int]]:
        (result,) = self._filesystem.match([f"{prefix}**"])
        return ((one.path, one.size_in_bytes) for one in result.metadata_list)

    def open(self, url: str) -> Any:
        from apache_beam.io.filesystem import CompressionTypes

        how = CompressionTypes.UNCOMPRESSED
        return self._filesystem.open(url, compression_type=how)


class _Reader(io.RawIOBase):
    """Beam's reader, with its errors as sentences."""

    def __init__(self, url: str, opened: Any):
        self._url = url
        self._opened = opened
        self._end = self.seek(0, io.SEEK_END)
        self.seek(0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._opened.seek(offset, whence)
        return int(self._opened.tell())

    def tell(self) -> int:
        return int(self._opened.tell())

    def readinto(self, buffer: Any) -> int:
        if self._opened.tell() >= self._end:  # which Cloud Storage would be asked
            return 0
        try:
            found = self._opened.read(len(buffer))
        except Exception as error:
            failed = _failed(self._url, "read", error)
            if isinstance(failed, FileNotFoundError):
                failed = DataError(
                    f"{self._url} was overwritten or removed while it was read; run"
                    " again when nobody writes there"
                )
            raise failed from error
        buffer[: len(found)] = found
        return len(found)

    def close(self) -> None:
        if not self.closed:
            self._opened.close()
        super().close()


def _service(url: str) -> Any:
    """What knows `list_files`, `exists`, `size`, `checksum` and `open`.

    Beam's filesystems make a client for every question, which takes boto3 an eighth of
    a second; here the process keeps one, which its threads may share.
    """
    # Only where a URL is read: it takes seconds to import.
    from apache_beam.io.aws import s3io
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.io.gcp import gcsio

    scheme, options = url.partition("://")[0], _options()
    if scheme not in ("gs", "s3"):
        try:
            return _Other(FileSystems.get_filesystem(url))
        except ValueError as error:
            raise DataError(
                f"{url} is of no filesystem that the installed Beam has; check the"
                " address, or install what Beam needs for it"
            ) from error
    with _lock:
        made, its_options = _kept.get(scheme, (None, None))
        if its_options is not options:
            if scheme == "gs":
                made = gcsio.GcsIO(pipeline_options=options)
            else:
                made = s3io.S3IO(options=options)
            _kept[scheme] = made, options
    # Beam's client of S3 is of one file at a time; a copy shares the connections.
    return made if scheme == "gs" else s3io.S3IO(client=copy.copy(made.client))


def _options() -> Any:
    """The pipeline's; without one, Beam's defaults, without which it cannot do S3."""
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import PipelineOptions

    if FileSystems._pipeline_options is None:
        # Said to be empty: else Beam takes the command's own arguments for options.
        FileSystems.set_options(PipelineOptions([]))
    return FileSystems._pipeline_options


def _ask(url: str, listing: bool = True) -> None:
    """Asks a bucket's service once whether it answers, and refuses a failure.

    Args:
      url: or a pattern.
      listing: whether it may be a pattern; else there is one file of the name.
    """
    scheme, _, rest = url.partition("://")
    bucket, _, name = rest.partition("/")
    ask = {"gs": _ask_gs, "s3": _ask_s3}.get(scheme)
    if ask is None or f"{scheme}://{bucket}" in _answered:
        return
    prefix = _before_wildcards(name) if listing else name
    if not bucket or not name:
        raise DataError(f"{url} names no file; write {scheme}://bucket/file")
    try:
        ask(bucket, prefix, prefix != name)
    except Exception as error:
        raise _failed(url, "listed" if listing else "read", error) from error
    _answered.add(f"{scheme}://{bucket}")


def _ask_gs(bucket: str, name: str, listing: bool) -> None:
    import google.auth
    from apache_beam.io.gcp import gcsio
    from apache_beam.options.pipeline_options import GoogleCloudOptions
    from google.auth.exceptions import DefaultCredentialsError
    from google.cloud.storage.retry import DEFAULT_RETRY

    options = _options()
    # Its warnings say what the sentence does.
    logging.getLogger("google.auth").setLevel(logging.ERROR)
    without = ""
    try:
        google.auth.default(options.view_as(GoogleCloudOptions).gcp_oauth_scopes)
    except DefaultCredentialsError as error:
        found = _reason(error).partition(". ")[0]
        without = f" (asked without credentials: {found})"
    retry = DEFAULT_RETRY.with_timeout(_PATIENCE)
    how = {"retry": retry, "timeout": _PATIENCE}
    try:
        client = gcsio.create_storage_client(options, use_credentials=not without)
        if listing:
            list(client.list_blobs(bucket, prefix=name, max_results=1, **how))
        else:
            client.bucket(bucket).get_blob(name, **how)
    except Exception as error:
        if not without:
            raise
        raise PermissionError(f"{_reason(error)}{without}") from error


def _ask_s3(bucket: str, name: str, listing: bool) -> None:
    from apache_beam.io.aws import s3io
    from apache_beam.io.aws.clients.s3 import messages

    if not s3io.BOTO3_INSTALLED:
        raise OSError("boto3 is not installed, without which Beam reads no s3://")
    client = _service(f"s3://{bucket}/{name}").client
    try:
        if listing:
            client.list(messages.ListRequest(bucket, name))
        else:
            client.get_object_metadata(messages.GetRequest(bucket, name))
    except messages.S3ClientError as error:
        if error.code != 404 or "NoSuchBucket" in str(error):
            raise


def _failed(url: str, what: str, error: Exception) -> Exception:
    """The sentence; or, where it is so, that there is no such file."""
    cause = _cause(error)
    gone = isinstance(cause, FileNotFoundError) or getattr(cause, "code", None) == 404
    if gone and what == "read":
        return FileNotFoundError(2, "No such file", url)
    return DataError(
        f"{url} cannot be {what}: {_reason(error)}; check the address, the credentials"
        " and the network"
    )


def _cause(error: Any) -> Any:
    """What Beam's and Google's errors wrap."""
    while details := getattr(error, "exception_details", None):
        error = next(iter(details.values()))
    return getattr(error, "cause", None) or error


def _reason(error: Exception) -> str:
    cause = _cause(error)
    # Beam's error of S3 is of a sentence and a number.
    text = cause.args[0] if len(cause.args) > 1 else cause
    text = " ".join(str(text if isinstance(text, str) else cause).split())
    # "HTTPSConnectionPool(...): ... (Caused by X('<... at 0x1>: Name not known'))"
    inner = re.search(r"\(Caused by \w+\(['\"]?(?:<.*?>: )?(.*?)['\"]?\)\)", text)
    if inner:
        text = text.replace(text[: inner.end()], inner.group(1), 1)
    return text.rstrip(".")[:400] or type(cause).__name__
