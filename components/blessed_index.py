"""The blessed models of a pipeline, in a folder of small files.

Where the metadata store cannot be asked for the latest blessed model (a Kubeflow
Pipelines cluster resolves nothing), InvarianceValidator notes each blessing here, and
ReleasedModel reads it. One file a model, named by its digest, so that two runs at once
do not write into one.
"""

import json
import os
from collections.abc import Collection
from typing import Any

from components import digests, filesystem

_SUFFIX = ".json"


def note(folder: str, digest: str, model: str, at: str) -> None:
    """Notes a blessing; one of the same model is replaced.

    Args:
      folder: of the index, made where it is missing; may be a URL.
      digest: of the SavedModel.
      model: URI of the `Model` artifact.
      at: when it was blessed, ISO 8601 in UTC.
    """
    filesystem.make_folder(folder)
    text = json.dumps({"model": model, "digest": digest, "blessed_at": at})
    path = os.path.join(folder, digest + _SUFFIX)
    with filesystem.open_file(path, "wb") as file:
        file.write(text.encode())


def latest(folder: str, gone: Collection[str] = ()) -> dict[str, Any] | None:
    """The model that was blessed last.

    Args:
      folder: of the index; may be a URL.
      gone: digests that do not count, such as of models that were rolled back.

    Returns:
      `model` (a URI), `digest` and `blessed_at`; None where there is none.
    """
    found = []
    for name in filesystem.list_folder(folder):
        digest = name.removesuffix(_SUFFIX)
        if digest == name or not digests.is_digest(digest) or digest in gone:
            continue
        with filesystem.open_file(os.path.join(folder, name)) as file:
            entry = json.loads(file.read())
        found.append((entry["blessed_at"], digest, entry))
    return max(found)[2] if found else None
