"""The same pipeline of stock TFX components, as a command: what ours is timed against.

Its rows come already split, labelled and stamped with their environment, none of which
CsvExampleGen can do: work that ours does and this does not pay for.
"""

import argparse
import json
import os

from absl import logging
from tfx import v1 as tfx


def create_pipeline(data, root, schema, settings, slices):
    """CsvExampleGen to Pusher, with the defaults of the components."""
    import tensorflow_model_analysis as tfma

    splits = ("train", "eval", "ood")
    example_gen = tfx.components.CsvExampleGen(
        input_base=data,
        input_config=tfx.proto.Input(
            splits=[tfx.proto.Input.Split(name=s, pattern=f"{s}/*") for s in splits]
        ),
    )
    statistics = tfx.components.StatisticsGen(examples=example_gen.outputs["examples"])
    schema_gen = tfx.components.ImportSchemaGen(schema_file=schema)
    validator = tfx.components.ExampleValidator(
        statistics=statistics.outputs["statistics"], schema=schema_gen.outputs["schema"]
    )
    transform = tfx.components.Transform(
        examples=example_gen.outputs["examples"],
        schema=schema_gen.outputs["schema"],
        preprocessing_fn="trainer_module.preprocessing.preprocessing_fn",
        splits_config=tfx.proto.SplitsConfig(analyze=["train"], transform=list(splits)),
        custom_config=settings,
    )
    trainer = tfx.components.Trainer(
        run_fn="benchmarks.stock_module.run_fn",
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        schema=schema_gen.outputs["schema"],
        train_args=tfx.proto.TrainArgs(splits=["train"], num_steps=settings["steps"]),
        eval_args=tfx.proto.EvalArgs(splits=["eval"]),
        custom_config=settings,
    )
    resolver = tfx.dsl.Resolver(
        strategy_class=tfx.dsl.experimental.LatestBlessedModelStrategy,
        model=tfx.dsl.Channel(type=tfx.types.standard_artifacts.Model),
        model_blessing=tfx.dsl.Channel(type=tfx.types.standard_artifacts.ModelBlessing),
    ).with_id("latest_blessed_model_resolver")
    metrics = [
        tfma.MetricConfig(
            class_name="AUC",
            threshold=tfma.MetricThreshold(
                value_threshold=tfma.GenericValueThreshold(lower_bound={"value": 0.5})
            ),
        ),
        *(
            tfma.MetricConfig(class_name=name)
            for name in (
                "BinaryCrossEntropy",
                "BinaryAccuracy",
                "Calibration",
                "ExampleCount",
                "MeanLabel",
                "MeanPrediction",
                "CalibrationPlot",
            )
        ),
    ]
    evaluator = tfx.components.Evaluator(
        examples=example_gen.outputs["examples"],
        model=trainer.outputs["model"],
        baseline_model=resolver.outputs["model"],
        example_splits=["eval", "ood"],
        eval_config=tfma.EvalConfig(
            model_specs=[
                tfma.ModelSpec(
                    label_key=settings["label"],
                    signature_name="serving_default",
                    model_type="tf_generic",
                )
            ],
            slicing_specs=[tfma.SlicingSpec(feature_keys=f) for f in slices],
            metrics_specs=[tfma.MetricsSpec(metrics=metrics)],
        ),
    )
    pusher = tfx.components.Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(
                base_directory=os.path.join(root, "serving")
            )
        ),
    )
    connection = tfx.orchestration.metadata.sqlite_metadata_connection_config
    return tfx.dsl.Pipeline(
        pipeline_name="stock",
        pipeline_root=os.path.join(root, "artifacts"),
        metadata_connection_config=connection(os.path.join(root, "metadata.sqlite")),
        components=[
            *(example_gen, statistics, schema_gen, validator, transform),
            *(trainer, resolver, evaluator, pusher),
        ],
        beam_pipeline_args=[
            "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"
        ],
    )


def main():
    """Runs the pipeline that the arguments describe."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--data", "--root", "--schema", "--settings"):
        parser.add_argument(name, required=True)
    options = parser.parse_args()
    logging.use_absl_handler()  # the runner's own lines tell when a stage begins
    logging.set_verbosity(logging.INFO)
    with open(options.settings, encoding="utf-8") as file:
        told = json.load(file)
    pipeline = create_pipeline(
        options.data,
        options.root,
        options.schema,
        told["custom_config"],
        told["slices"],
    )
    tfx.orchestration.LocalDagRunner().run(pipeline)


if __name__ == "__main__":
    main()
