"""Pusher: releases the model that the verdict and the load check blessed."""

from tfx import types
from tfx.components.pusher import component as tfx_pusher
from tfx.dsl.components.base import executor_spec
from tfx.proto import pusher_pb2

from components.pusher import executor


class Pusher(tfx_pusher.Pusher):
    """TFX's Pusher whose blessings are not optional.

    TFX's own pushes, with a warning, where no blessing is wired.
    """

    def __init__(
        self,
        model: types.BaseChannel,
        blessing: types.BaseChannel,
        infra_blessing: types.BaseChannel,
        directory: str,
    ):
        """Makes the component.

        Args:
          model: of Trainer.
          blessing: of InvarianceValidator; without a positive one nothing is pushed.
          infra_blessing: of ModelValidator; likewise.
          directory: where the versions of the served model lie.
        """
        super().__init__(
            model=model,
            model_blessing=blessing,
            infra_blessing=infra_blessing,
            push_destination=pusher_pb2.PushDestination(
                filesystem=pusher_pb2.PushDestination.Filesystem(
                    base_directory=directory
                )
            ),
            custom_executor_spec=executor_spec.ExecutorClassSpec(executor.Executor),
        )
