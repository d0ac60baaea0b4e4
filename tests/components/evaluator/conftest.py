"""A toy problem: tf.Examples, SavedModels, and the executor run over them."""

import json
import warnings
from collections import Counter

import numpy as np
import pytest

METRICS = [
    {"class_name": "AUC", "config": '{"name": "auc"}'},
    {"class_name": "BinaryCrossEntropy", "config": '{"name": "log_loss"}'},
    {"class_name": "BinaryAccuracy", "config": '{"name": "accuracy"}'},
    {"class_name": "Calibration", "config": '{"name": "calibration"}'},
    {"class_name": "MeanLabel", "config": '{"name": "mean_label"}'},
    {"class_name": "MeanPrediction", "config": '{"name": "mean_prediction"}'},
    {"class_name": "ExampleCount"},
    {"class_name": "CalibrationPlot", "config": '{"num_buckets": 20}'},
]


def draw(n, environments, seed):
    """Columns of n examples; carriers UA and B6 are large, HA small, one is missing."""
    rng = np.random.default_rng(seed)
    x = rng.normal(-1.0, 1.2, n).astype(np.float32)
    carrier = rng.choice([b"UA", b"B6", b"HA", b""], n, p=[0.55, 0.35, 0.08, 0.02])
    day = rng.integers(0, 60, n)
    return {
        "x": x,
        "late": (rng.random(n) < 1 / (1 + np.exp(-0.2 - 0.8 * x))).astype(np.int64),
        "environment": rng.choice([e.encode() for e in environments], n),
        "carrier": carrier,
        "month": day // 30 + 1,
        "day": day % 30 + 1,
        "w": rng.gamma(2.0, size=n).astype(np.float32),
    }


def counts_of(columns, slices):
    """Counts of one split, as they come with the examples."""
    found = {}
    for features in slices:
        rows = zip(*(columns[f].tolist() for f in features), strict=True)
        values = Counter(row for row in rows if b"" not in row)
        found[json.dumps(features)] = [
            [[v.decode() if isinstance(v, bytes) else str(v) for v in value], number]
            for value, number in values.items()
        ]
    return found


def _examples(columns):
    import tensorflow as tf

    def feature(value):
        if isinstance(value, bytes):
            values = [value] if value else []  # an empty value is a missing one
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
        if isinstance(value, int):
            return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))

    names = list(columns)
    for row in zip(*(columns[name].tolist() for name in names), strict=True):
        features = {n: feature(v) for n, v in zip(names, row, strict=True)}
        example = tf.train.Example(features=tf.train.Features(feature=features))
        yield example.SerializeToString()


@pytest.fixture(scope="session")
def write_examples():
    """Writes splits of columns, two gzipped shards each; returns the artifact."""
    import tensorflow as tf
    from tfx.types import standard_artifacts

    def write(folder, splits, slices=()):
        artifact = standard_artifacts.Examples()
        artifact.uri = str(folder)
        artifact.split_names = json.dumps(list(splits))
        for split, columns in splits.items():
            (folder / f"Split-{split}").mkdir(parents=True)
            records = list(_examples(columns))
            for shard, start in enumerate((0, len(records) // 3)):
                stop = len(records) // 3 if shard == 0 else len(records)
                path = str(folder / f"Split-{split}" / f"data-{shard}.gz")
                with tf.io.TFRecordWriter(path, "GZIP") as writer:
                    for record in records[start:stop]:
                        writer.write(record)
        counts = {"slices": {s: counts_of(c, slices) for s, c in splits.items()}}
        artifact.set_string_custom_property("counts", json.dumps(counts))
        return artifact

    return write


@pytest.fixture(scope="session")
def write_model():
    """Exports sigmoid(scale x + shift), element by element; returns the artifact."""
    import tensorflow as tf
    from tfx.types import standard_artifacts

    def write(folder, scale=1.0, shift=0.0, nan_below=-np.inf, output="probabilities"):
        spec = {"x": tf.io.FixedLenFeature([1], tf.float32)}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
        def serve(examples):
            x = tf.io.parse_example(examples, spec)["x"]
            p = tf.sigmoid(scale * x + shift)
            p = tf.where(x < nan_below, tf.constant(np.nan, tf.float32), p)
            return {"logits": scale * x + shift, output: p}

        module = tf.Module()
        module.serve = serve
        path = str(folder / "Format-Serving")
        signatures = {"serving_default": serve.get_concrete_function()}
        tf.saved_model.save(module, path, signatures=signatures)
        artifact = standard_artifacts.Model()
        artifact.uri = str(folder)
        return artifact

    return write


def in_memory_pipeline():
    """A pipeline on Beam's local runner, in this process."""
    import apache_beam as beam
    from apache_beam.runners.portability.fn_api_runner import fn_runner

    return beam.Pipeline(runner=fn_runner.FnApiRunner())


@pytest.fixture(scope="session")
def evaluate():
    """Runs the executor; returns the uri of the evaluation."""
    from tfx.dsl.components.base import base_beam_executor
    from tfx.types import standard_artifacts

    from components.evaluator import executor

    def run(
        folder, examples, model, baseline=None, splits=("eval",), slices=(), **more
    ):
        evaluation = standard_artifacts.ModelEvaluation()
        evaluation.uri = str(folder / "a" / "b" / "evaluation")  # not there yet
        config = {
            "slicing_specs": [{}, *({"feature_keys": list(s)} for s in slices)],
            "model_specs": [more.pop("model_spec", {})],
        }
        options = {"label": "late", "min_examples": 0, **more}
        context = executor.Executor.Context(make_beam_pipeline_fn=in_memory_pipeline)
        assert isinstance(context, base_beam_executor.BaseBeamExecutor.Context)
        inputs = {"examples": [examples], "model": [model]}
        if baseline is not None:
            inputs["baseline_model"] = [baseline]
        executor.Executor(context).Do(
            inputs,
            {"evaluation": [evaluation]},
            {
                "eval_config": json.dumps(config),
                "example_splits": json.dumps(list(splits)),
                "options": json.dumps(options),
            },
        )
        return evaluation.uri

    return run


@pytest.fixture(scope="session")
def stock(tmp_path_factory):
    """Runs stock TFMA on one split; returns its output folder."""
    import tensorflow_model_analysis as tfma
    from google.protobuf import json_format
    from tfx_bsl.public import tfxio

    def run(
        examples, split, models, slices=(), weight="", metrics=METRICS, **spec_of_task
    ):
        specs = [
            {
                "name": name,
                "label_key": "late",
                "prediction_key": "probabilities",
                "signature_name": "serving_default",
                "model_type": "tf_generic",
                "example_weight_key": weight,
                "is_baseline": name == "baseline",
                **spec_of_task,
            }
            for name in models
        ]
        config = {
            "model_specs": specs,
            "slicing_specs": [{}, *({"feature_keys": list(s)} for s in slices)],
            "metrics_specs": [{"metrics": metrics}],
        }
        parsed = json_format.ParseDict(config, tfma.EvalConfig())
        parsed = tfma.utils.update_eval_config_with_defaults(
            parsed, has_baseline=len(models) > 1
        )
        shared = [
            tfma.default_eval_shared_model(
                f"{model.uri}/Format-Serving", model_name=spec.name, eval_config=parsed
            )
            for spec, model in zip(parsed.model_specs, models.values(), strict=True)
        ]
        output = str(tmp_path_factory.mktemp("stock"))
        record = tfxio.TFExampleRecord(
            f"{examples.uri}/Split-{split}/*",
            raw_record_column_name=tfma.ARROW_INPUT_COLUMN,
        )
        with warnings.catch_warnings(), in_memory_pipeline() as pipeline:
            warnings.simplefilter("ignore")  # several an example
            _ = (
                pipeline
                # The same batches: vectorised kernels round by the batch's shape.
                | record.BeamSource(4_096)
                | tfma.ExtractEvaluateAndWriteResults(
                    eval_shared_model=shared if len(shared) > 1 else shared[0],
                    eval_config=parsed,
                    output_path=output,
                )
            )
        return output

    return run
