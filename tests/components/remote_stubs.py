"""Cloud Storage and S3 on localhost: what listing and reading ask of them.

    with remote_stubs.serve(remote_stubs.GcsHandler) as store:
        store.objects["bucket/name"] = b"..."

A store counts the requests and the bytes that it answers with, and can be told to fail.
"""

import base64
import contextlib
import dataclasses
import hashlib
import http.server
import json
import re
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from xml.sax import saxutils

import google_crc32c

_TIME = "2024-03-01T12:00:00.000Z"
_PIECE = 1 << 16


class Objects(dict):
    """`bucket/name` -> bytes; every write is a new generation."""

    def __init__(self):
        super().__init__()
        self.generations = {}

    def __setitem__(self, key, value):
        super().__setitem__(key, value)
        self.generations[key] = self.generations.get(key, 0) + 1


@dataclasses.dataclass
class Request:
    """One that was answered: `list`, `stat` or `read`; the bytes of content sent."""

    what: str
    name: str
    status: int = 200
    sent: int = 0


class Store:
    """What a server holds, and what it was asked.

    Attributes:
      objects: `bucket/name` -> bytes.
      page: objects a page of a listing.
      buckets: the names that there are, beside those that hold something.
      requests: in their order.
      fail: what (`list`, `stat`, `read`), name -> a status to answer with, or None.
      keys: the `Authorization` headers that came.
    """

    def __init__(self, url: str):
        self.url = url
        self.objects = Objects()
        self.page = 1000
        self.buckets: set[str] = set()
        self.requests: list[Request] = []
        self.keys: set[str | None] = set()
        self.fail: Callable[[str, str], int | None] = lambda what, name: None

    def has_bucket(self, bucket: str) -> bool:
        return bucket in self.buckets or any(
            key.startswith(f"{bucket}/") for key in self.objects
        )

    def listed(
        self, bucket: str, prefix: str, after: str, most: int
    ) -> tuple[list, str]:
        """Names of a page, and the token of the next, empty at the end."""
        start = f"{bucket}/{prefix}"
        keys = sorted(key for key in self.objects if key.startswith(start))
        names = [key[len(bucket) + 1 :] for key in keys]
        names = [name for name in names if name > after]
        page = names[: min(self.page, most)]
        return page, page[-1] if len(names) > len(page) else ""

    def count(self, what: str | None = None) -> int:
        return sum(what in (None, one.what) for one in self.requests)

    def sent(self) -> int:
        return sum(one.sent for one in self.requests)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    store: Store

    def log_message(self, *_):
        pass

    def _query(self) -> tuple[str, dict[str, str]]:
        path, _, query = self.path.partition("?")
        pairs = urllib.parse.parse_qsl(query, keep_blank_values=True)
        return path, dict(pairs)

    def _asked(self, what: str, name: str) -> Request | None:
        """Notes a request; None where it has been answered with a failure."""
        request = Request(what, name)
        self.store.requests.append(request)
        self.store.keys.add(self.headers.get("Authorization"))
        status = self.store.fail(what, name)
        if status is None:
            return request
        request.status = status
        self._refuse(request, status)
        return None

    def _send(self, status: int, body: bytes, kind: str, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(body)

    def _send_content(self, request: Request, content: bytes, **headers: str) -> None:
        """All of it, or the range that is asked for; whoever reads may hang up."""
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start, stop, status = 0, len(content), 200
        if wanted:
            start, status = int(wanted[1]), 206
            stop = min(int(wanted[2] or len(content)) + bool(wanted[2]), len(content))
            if start >= len(content):
                request.status = 416
                return self._refuse(request, 416)
            headers["Content_Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(stop - start))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        try:
            for at in range(start, stop, _PIECE):
                piece = content[at : min(at + _PIECE, stop)]
                self.wfile.write(piece)
                request.sent += len(piece)
        except OSError:
            self.close_connection = True

    def _refuse(self, request: Request, status: int) -> None:
        raise NotImplementedError


class GcsHandler(_Handler):
    """The JSON API: objects listed, described and downloaded; and tokens given out."""

    def do_POST(self):  # noqa: N802
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        token = {"access_token": "fake-token", "expires_in": 3600}
        self._json(200, {**token, "token_type": "Bearer"})

    def do_GET(self):  # noqa: N802
        path, query = self._query()
        found = re.fullmatch(r"(/download)?/storage/v1/b/([^/]+)/o(?:/(.+))?", path)
        if found is None:
            return self._json(404, {})
        bucket = found[2]
        if found[3] is None:
            if request := self._asked("list", f"{bucket}/{query.get('prefix', '')}"):
                self._list(request, bucket, query)
            return None
        key = f"{bucket}/{urllib.parse.unquote(found[3])}"
        media = query.get("alt") == "media"
        request = self._asked("read" if media else "stat", key)
        if request is None:
            return None
        generation = str(self.store.objects.generations.get(key))
        if (
            key not in self.store.objects
            or query.get("generation", generation) != generation
        ):
            request.status = 404
            return self._refuse(request, 404)
        if media:
            return self._send_content(request, self.store.objects[key])
        return self._json(200, self._described(bucket, key[len(bucket) + 1 :]))

    def _list(self, request: Request, bucket: str, query: dict[str, str]) -> None:
        if not self.store.has_bucket(bucket):
            request.status = 404
            return self._refuse(request, 404)
        names, token = self.store.listed(
            bucket,
            query.get("prefix", ""),
            query.get("pageToken", ""),
            int(query.get("maxResults", 1000)),
        )
        found = {"items": [self._described(bucket, name) for name in names]}
        return self._json(200, found | ({"nextPageToken": token} if token else {}))

    def _described(self, bucket: str, name: str) -> dict[str, str]:
        content = self.store.objects[f"{bucket}/{name}"]
        crc = google_crc32c.value(content).to_bytes(4, "big")
        quoted = urllib.parse.quote(name, safe="")
        return {
            "name": name,
            "bucket": bucket,
            "size": str(len(content)),
            "updated": _TIME,
            "generation": str(self.store.objects.generations[f"{bucket}/{name}"]),
            "crc32c": base64.b64encode(crc).decode(),
            "mediaLink": f"{self.store.url}/download/storage/v1/b/{bucket}/o/{quoted}"
            "?alt=media",
        }

    def _json(self, status: int, value: dict) -> None:
        self._send(status, json.dumps(value).encode(), "application/json")

    def _refuse(self, request: Request, status: int) -> None:
        words = {403: "does not have storage.objects access", 404: "Not Found"}
        message = words.get(status, "a failure of the stub")
        self._json(status, {"error": {"code": status, "message": message}})


class S3Handler(_Handler):
    """REST: ListObjectsV2, HeadObject, GetObject."""

    def do_GET(self):  # noqa: N802
        path, query = self._query()
        bucket, _, name = urllib.parse.unquote(path).lstrip("/").partition("/")
        if not name:
            if request := self._asked("list", f"{bucket}/{query.get('prefix', '')}"):
                self._list(request, bucket, query)
            return
        what = "stat" if self.command == "HEAD" else "read"
        request = self._asked(what, f"{bucket}/{name}")
        if request is None:
            return
        content = self.store.objects.get(f"{bucket}/{name}")
        if content is None:
            request.status = 404
            self._refuse(request, 404, "NoSuchKey")
            return
        headers = {
            "ETag": f'"{hashlib.md5(content).hexdigest()}"',
            "Last_Modified": "Fri, 01 Mar 2024 12:00:00 GMT",
        }
        if self.command == "HEAD":
            self._send(200, content, "application/octet-stream", **headers)
        else:
            self._send_content(request, content, **headers)

    do_HEAD = do_GET  # noqa: N815

    def _list(self, request: Request, bucket: str, query: dict[str, str]) -> None:
        if not self.store.has_bucket(bucket):
            request.status = 404
            return self._refuse(request, 404, "NoSuchBucket")
        names, token = self.store.listed(
            bucket,
            query.get("prefix", ""),
            query.get("continuation-token", ""),
            int(query.get("max-keys", 1000)),
        )
        entries = "".join(
            f"<Contents><Key>{urllib.parse.quote(name)}</Key>"
            f"<LastModified>{_TIME}</LastModified><ETag>&quot;0&quot;</ETag>"
            f"<Size>{len(self.store.objects[f'{bucket}/{name}'])}</Size></Contents>"
            for name in names
        )
        following = saxutils.escape(token)
        if token:
            following = f"<NextContinuationToken>{following}</NextContinuationToken>"
        body = (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult>'
            f"<Name>{bucket}</Name><KeyCount>{len(names)}</KeyCount>"
            f"<EncodingType>url</EncodingType>"
            f"<IsTruncated>{str(bool(token)).lower()}</IsTruncated>"
            f"{following}{entries}</ListBucketResult>"
        )
        return self._send(200, body.encode(), "application/xml")

    def _refuse(self, request: Request, status: int, code: str = "") -> None:
        codes = {403: "AccessDenied", 416: "InvalidRange", 500: "InternalError"}
        code = code or codes.get(status, "StubFailure")
        body = f"<Error><Code>{code}</Code><Message>{code}, {status}</Message></Error>"
        self._send(status, body.encode(), "application/xml")


@contextlib.contextmanager
def serve(handler: type[_Handler]) -> Iterator[Store]:
    """A server of its own port, with an empty store."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    store = Store(f"http://127.0.0.1:{server.server_address[1]}")
    server.RequestHandlerClass = type("Bound", (handler,), {"store": store})
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()
