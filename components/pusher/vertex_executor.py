"""Executor of Pusher where an endpoint of Vertex AI serves."""

from typing import Any

from components.cloud import CloudError
from components.errors import DataError
from components.files import is_url
from components.pusher import executor, versions
from components.pusher.target import ENDPOINT_KEY, Target


class Executor(executor.Executor):
    """Pushes as our other executor does, and has the endpoint serve that version.

    Blessings, digests, overrides and rollbacks are judged by the folder of the
    versions, which is in a bucket; the endpoint follows it.
    """

    def _serve(
        self, version: versions.Version, digest: str, exec_properties: dict[str, Any]
    ) -> str:
        # Here, as Google's clients take seconds to import, and to compile needs none.
        from components.pusher import endpoint

        to = Target.from_json(exec_properties[ENDPOINT_KEY])
        try:
            return endpoint.serve(to, version.path, digest)
        except (DataError, CloudError) as error:
            raise type(error)(
                f"{error}; version {version.number} is released in {version.path}, and"
                f" {to.told} does not serve it yet"
            ) from error

    def _check(self, directory: str) -> None:
        if not is_url(directory):
            raise DataError(
                f"push.to is vertex, and models are released in {directory}, which"
                " Vertex AI does not read; compile the pipeline with a root in a bucket"
            )
