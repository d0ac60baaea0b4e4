"""Deploys a released version to an endpoint of Vertex AI, and moves its traffic.

TFX's code makes the endpoint, registers the model and deploys it. It does not look at
what is there already; that, and moving traffic afterwards, is google-cloud-aiplatform.
"""

import contextlib
import logging
from typing import Any

from google.api_core import exceptions
from google.cloud import aiplatform
from tfx.extensions.google_cloud_ai_platform import runner

from components import cloud
from components.errors import DataError
from components.pusher import target
from components.pusher.target import Deployed, Target

_LOG = logging.getLogger(__name__)


def deployed(to: Target) -> list[Deployed]:
    """The models of the endpoint; none where there is no endpoint.

    Raises:
      DataError: there are two of that name, or it cannot be asked for.
      CloudError: the service did not answer.
    """
    with cloud.asking(to.told):
        found = _endpoint(to)
        return [] if found is None else _models(found)


def serve(to: Target, path: str, digest: str) -> str:
    """Sees to it that the endpoint serves a model, with its share of the traffic.

    A model that is there already is not deployed again; its share is set all the same.
    Models of ours that are left without traffic are taken off, but for the one that was
    served before.

    Args:
      to: the endpoint, made where it is missing.
      path: of the SavedModel, in a bucket.
      digest: of it.

    Returns:
      The resource name of the endpoint.

    Raises:
      DataError: there are two of that name, or Vertex AI refuses it.
      CloudError: it was not done.
    """
    with cloud.asking(to.told):
        there = _endpoint(to)
        before = [] if there is None else _models(there)
        known = target.find(before, digest)
        if known is None:
            _deploy(to, path, digest, before)
            there = _endpoint(to)
        assert there is not None
        if known is not None:
            _share(there, before, known, to.traffic)
        for one in target.idle(before, _models(there), to.pipeline, digest):
            _LOG.info("Taking %s off %s", one.name, to.told)
            there.undeploy(deployed_model_id=one.id)
        name: str = there.resource_name
        return name


def _endpoint(to: Target) -> Any:
    """The endpoint as it is now, or None."""
    try:
        aiplatform.init(project=to.project, location=to.region)
    except ValueError as error:
        raise DataError(
            f"vertex.region is {to.region}, which google-cloud-aiplatform"
            f" {aiplatform.__version__} does not know; name another"
        ) from error
    found = aiplatform.Endpoint.list(filter=f'display_name="{to.endpoint}"')
    if len(found) > 1:
        names = ", ".join(sorted(one.resource_name for one in found))
        raise DataError(
            f"{to.told} is not one but {len(found)} ({names}); delete the others, or"
            " name another in push.endpoint"
        )
    # The list holds no models yet; what is asked for by its name does.
    return aiplatform.Endpoint(found[0].resource_name) if found else None


def _models(there: Any) -> list[Deployed]:
    traffic = there.traffic_split
    return [
        Deployed.of(one.id, one.display_name, traffic.get(one.id, 0))
        for one in there.list_models()
    ]


def _deploy(to: Target, path: str, digest: str, before: list[Deployed]) -> None:
    name = to.model_name(digest)
    alone = not any(one.traffic for one in before)
    arguments: dict[str, Any] = {
        "project": to.project,
        "endpoint_name": to.endpoint,
        "labels": dict(to.labels),
        "deployed_model_display_name": name,
        "traffic_percentage": 100 if alone else to.traffic,
        "machine_type": to.machine,
        "min_replica_count": to.least,
        "max_replica_count": to.most,
    }
    if to.service_account is not None:
        arguments["service_account"] = to.service_account
    try:
        runner.deploy_model_for_aip_prediction(
            serving_path=path,
            model_version_name=name,
            ai_platform_serving_args=arguments,
            labels={},
            serving_container_image_uri=to.image,
            endpoint_region=to.region,
            enable_vertex=True,
        )
    except exceptions.GoogleAPIError:
        _forget(name)
        raise


def _forget(name: str) -> None:
    """Removes from the registry what was not deployed; the next push adds it anew."""
    with contextlib.suppress(exceptions.GoogleAPIError):
        for model in aiplatform.Model.list(filter=f'display_name="{name}"'):
            model.delete()  # refused where it is deployed all the same


def _share(there: Any, before: list[Deployed], known: Deployed, traffic: int) -> None:
    wanted = target.split(before, known.id, traffic)
    if wanted != {one.id: one.traffic for one in before}:
        there.update(traffic_split=wanted)
