"""Times the Trainer's input and its loop, beside TFXIO's input.

    python benchmarks/training.py [--steps N] [--batch N] [--json FILE]

The flights example up to Transform, then: seconds for N batches, reading the files
included, by our input pipeline, which transforms, and by TFXIO's, which is what TFX's
templates read with, as it is and mapped through the transform graph; and our loop with
the demo's network, on new batches and on one batch again and again. What the first
takes longer than the second is the time that the device waited for input. Best of three
each.

Bar: at most a quarter of TFXIO's input time without the transform.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from trainer_module.data import load_split
from trainer_module.devices import use_devices
from trainer_module.feeding import feed
from trainer_module.keras3 import keras, tft
from trainer_module.loop import Trainer
from trainer_module.model import make_model
from trainer_module.settings import TrainSettings
from trainer_module.transform_graph import TransformGraph

import tensorflow as tf  # isort:skip

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
CONFIG = REPOSITORY / "examples" / "flights" / "config.yaml"
REPEATS = 3


def make_artifacts(root):
    """Runs the demo; files of the train split, transform graph, custom_config."""
    command = [sys.executable, "-m", "pipeline.cli", "run", str(CONFIG)]
    places = ["--set", f"root={root}", "--set", f"push.path={root}/serving"]
    steps = ["--set", "train.steps=10", "--set", "train.penalty.anneal_steps=1"]
    done = subprocess.run([*command, *places, *steps], cwd=REPOSITORY)
    if done.returncode not in (0, 3):
        sys.exit(f"the demo ended with {done.returncode}")
    artifacts = pathlib.Path(root) / "artifacts"
    (train,) = artifacts.glob("MultiEnvExampleGen/examples/*/Split-train")
    (graph,) = artifacts.glob("Transform/transform_graph/*")
    from pipeline.config_io import load_config
    from pipeline.stages import custom_config

    return [str(train / "*")], str(graph), custom_config(load_config(str(CONFIG)))


def best(function):
    """The least seconds of some calls."""
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def consume(dataset, steps):
    """Takes batches and does nothing with them."""
    for _ in dataset.take(steps):
        pass


def ours(patterns, graph, settings, steps):
    """Seconds to load the split, and for the batches."""
    load = best(lambda: load_split(patterns, graph, settings.columns))
    split = load_split(patterns, graph, settings.columns)
    batches = split.balanced(settings.batch_size, settings.seed)
    return load, best(lambda: consume(batches, steps)), split


def tfxios(patterns, graph_path, settings, steps):
    """Seconds for TFXIO's batches as they are, and mapped through the graph."""
    from tfx_bsl.public import tfxio

    output = tft.TFTransformOutput(graph_path)
    layer = output.transform_features_layer()
    reader = tfxio.TFExampleRecord(
        file_pattern=[name for p in patterns for name in tf.io.gfile.glob(p)],
        schema=output.raw_metadata.schema,
        telemetry_descriptors=["benchmark"],
    )
    options = tfxio.TensorFlowDatasetOptions(batch_size=settings.batch_size)

    def plain():
        return reader.TensorFlowDataset(options).prefetch(tf.data.AUTOTUNE)

    def transformed():
        dataset = reader.TensorFlowDataset(options)
        return dataset.map(lambda raw: layer(raw)).prefetch(tf.data.AUTOTUNE)

    return tuple(
        best(lambda m=make: consume(m(), steps)) for make in (plain, transformed)
    )


def loop_seconds(split, settings, graph, steps, again):
    """Seconds a run of steps takes, on new batches or on one again and again."""
    keras.utils.set_random_seed(0)
    trainer = Trainer(make_model(graph.features, settings.model), split, settings)
    strategy = tf.distribute.get_strategy()
    if again:
        one = next(iter(split.balanced(settings.batch_size, settings.seed)))
        batches = iter(tf.data.Dataset.from_tensors(one).cache().repeat())
    else:
        batches = feed(split, settings.batch_size, settings.seed, strategy)
    trainer.run(batches, 0, 20)  # traces
    return best(lambda: trainer.run(batches, 20, steps))


def main():
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--json", type=pathlib.Path, help="write the figures here")
    options = parser.parse_args()
    device = use_devices()
    with tempfile.TemporaryDirectory(prefix="benchmark-training-") as root:
        patterns, path, config = make_artifacts(root)
        config |= {"batch_size": options.batch, "steps": options.steps}
        settings = TrainSettings.from_config(config)
        graph = TransformGraph.open(path, config)
        load, batches, split = ours(patterns, graph, settings, options.steps)
        plain, transformed = tfxios(patterns, path, settings, options.steps)
        new, same = (
            loop_seconds(split, settings, graph, options.steps, again)
            for again in (False, True)
        )
    figures = {
        "rows": int(split.counts.sum()),
        "steps": options.steps,
        "batch": options.batch,
        "our_load_s": load,
        "our_batches_s": batches,
        "tfxio_s": plain,
        "tfxio_transformed_s": transformed,
        "input_ratio": (load + batches) / plain,
        "steps_a_second": options.steps / new,
        "waiting": max(0.0, 1 - same / new),
    }
    figures = {key: round(value, 4) for key, value in figures.items()}
    print(json.dumps(figures, indent=1))
    met = "met" if figures["input_ratio"] <= 0.25 else "NOT MET"
    print(f"input time beside TFXIO's: {figures['input_ratio']:.3f} (bar 0.25: {met})")
    print(
        f"{figures['steps_a_second']:.0f} steps a second, {figures['waiting']:.0%} of "
        "a step spent waiting for input"
    )
    if options.json:
        document = {
            "command": "python " + " ".join(sys.argv),
            "date": datetime.date.today().isoformat(),
            "device": device,
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "tensorflow": tf.__version__,
            **figures,
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
