"""Times our Evaluator beside TFX's own on the same examples and model.

    python benchmarks/evaluation.py [--from ROOT] [--runs N] [--no-stock] [--json FILE]

The demo's flights through our ingestion, and its model: those of a finished run under
ROOT, else of one made here (minutes). Each component then evaluates the eval split by
itself in a process of its own, on Beam's local runner: the seconds are those of its
executor's `Do`, without imports and start-up, and the memory is the most that the
process held, from which what it held before `Do` is told apart. Stock has AUC and
accuracy to compute; ours always has all of its metrics and 21 times their values.

Bars, ours against stock's AUC and accuracy over overall, environment and carrier: every
value equal to 1e-9; at most an eighth of its time where ours gives the same metrics, a
quarter with all of them (ours gives all, so the eighth is what counts). 200 slices at
most 3 times 20; memory flat in rows: at 5 times the rows at most 1.25 times.
"""

import argparse
import datetime
import glob
import importlib.metadata
import json
import os
import pathlib
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from pipeline.runtime import LOCAL_BEAM_RUNNER  # noqa: E402

CONFIG = REPOSITORY / "examples" / "flights" / "config.yaml"
LABEL = "late"
FEW = [[], ["environment"], ["carrier"]]
MANY = [*FEW, ["dest"], ["environment", "dest"], ["month"], ["environment", "carrier"]]
STOCK_METRICS = [
    {"class_name": "AUC", "config": '{"name": "auc"}'},
    {"class_name": "BinaryAccuracy", "config": '{"name": "accuracy"}'},
    {"class_name": "ExampleCount"},
]
COMPARED = ("auc", "accuracy")
SPLIT = "eval"


def prepare(folder):
    """Runs the demo far enough to have examples and a model; its root."""
    root = folder / "root"
    sets = [f"root={root}", f"push.path={folder / 'serving'}", "train.steps=300"]
    command = [sys.executable, "-m", "pipeline.cli", "run", str(CONFIG)]
    for change in sets:
        command += ["--set", change]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=REPOSITORY, env=environment
    )
    if done.returncode not in (0, 3):
        sys.exit(f"the demo's run ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return root


def newest(root, node, output):
    """The last artifact of an output of a run."""
    found = glob.glob(f"{root}/artifacts/{node}/{output}/*")
    if not found:
        sys.exit(f"{root} has no {output} of {node}; give the root of a finished run")
    return max(found, key=lambda path: int(os.path.basename(path)))


def repeat_split(examples, folder, times):
    """Examples with the eval split so many times over."""
    target = folder / f"examples-{times}"
    (target / f"Split-{SPLIT}").mkdir(parents=True)
    for path in glob.glob(f"{examples}/Split-{SPLIT}/*"):
        for number in range(times):
            name = f"{number}-{os.path.basename(path)}"
            shutil.copyfile(path, target / f"Split-{SPLIT}" / name)
    return str(target)


def artifacts(asked):
    """Input and output dictionaries of an Evaluator's executor."""
    from tfx.types import standard_artifacts

    examples = standard_artifacts.Examples()
    examples.uri, examples.split_names = asked["examples"], json.dumps([SPLIT])
    model = standard_artifacts.Model()
    model.uri = asked["model"]
    evaluation = standard_artifacts.ModelEvaluation()
    evaluation.uri = asked["output"]
    return {"examples": [examples], "model": [model]}, {"evaluation": [evaluation]}


def ours(asked):
    """A function that runs our executor."""
    from components.evaluator import executor

    inputs, outputs = artifacts(asked)
    config = {"slicing_specs": [{"feature_keys": s} for s in asked["slices"]]}
    options = {"label": LABEL, "cluster_by": ["month", "day"], "min_examples": 0}
    properties = {
        "eval_config": json.dumps(config),
        "example_splits": json.dumps([SPLIT]),
        "options": json.dumps(options),
    }
    made = executor.Executor(context(executor.Executor))
    return lambda: made.Do(inputs, outputs, properties)


def stock(asked):
    """A function that runs TFX's executor."""
    from tfx.components.evaluator import executor

    inputs, outputs = artifacts(asked)
    spec = {"label_key": LABEL, "signature_name": "serving_default"}
    config = {
        "model_specs": [{**spec, "model_type": "tf_generic"}],
        "slicing_specs": [{"feature_keys": s} for s in asked["slices"]],
        "metrics_specs": [{"metrics": STOCK_METRICS}],
    }
    properties = {
        "eval_config": json.dumps(config),
        "example_splits": json.dumps([SPLIT]),
        "fairness_indicator_thresholds": "null",
    }
    made = executor.Executor(context(executor.Executor))
    return lambda: made.Do(inputs, outputs, properties)


def context(executor):
    """What an executor is made with: Beam's local runner."""
    return executor.Context(
        beam_pipeline_args=[f"--runner={LOCAL_BEAM_RUNNER}"],
        tmp_dir=tempfile.mkdtemp(),
        unique_id="1",
    )


def memory():
    """MiB that this process held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run_one(asked):
    """Runs one component; prints its seconds, memory and values."""
    import tensorflow_model_analysis as tfma

    do = {"ours": ours, "stock": stock}[asked["who"]](asked)
    before, began, cpu = memory(), time.perf_counter(), time.process_time()
    do()
    figures = {"seconds": time.perf_counter() - began}
    figures |= {"cpu_seconds": time.process_time() - cpu, "before_mib": before}
    figures["peak_mib"] = memory()
    uri = asked["output"]
    if asked["who"] == "ours":
        uri = os.path.join(uri, f"Split-{SPLIT}")
    values, examples = {}, 0
    for key, output in tfma.load_eval_result(uri).slicing_metrics:
        name = ",".join(f"{feature}={value}" for feature, value in sorted(key))
        found = output[""][""]
        values[name] = {m: found[m]["doubleValue"] for m in COMPARED}
        examples = max(examples, found["example_count"]["doubleValue"])
    figures |= {"examples": examples, "slices": len(values)}
    print("\n" + json.dumps({"figures": figures, "values": values}))


def measure(folder, **asked):
    """Runs one component in a process of its own: (figures, values)."""
    asked["output"] = tempfile.mkdtemp(dir=folder)
    done = subprocess.run(
        [sys.executable, __file__, "--one", json.dumps(asked)],
        capture_output=True,
        text=True,
    )
    shutil.rmtree(asked["output"])
    if done.returncode:
        sys.exit(f"{asked}: {done.stderr[-3000:]}")
    told = json.loads(done.stdout.splitlines()[-1])
    figures = {key: round(value, 2) for key, value in told["figures"].items()}
    print(
        f"{asked['who']:<6} {figures['examples']:>9,.0f} examples"
        f" {figures['slices']:>5,.0f} slices {figures['seconds']:>8.1f} s"
        f" ({figures['cpu_seconds']:.1f} of them on a core)"
        f" {figures['before_mib']:>7,.0f} MiB before {figures['peak_mib']:>7,.0f} peak",
        flush=True,
    )
    return {"who": asked["who"], **figures}, told["values"]


def differences(one, other):
    """Largest difference of two runs' values; NaN counts for equal where both are."""
    if set(one) != set(other):
        sys.exit(f"other slices: {sorted(set(one) ^ set(other))}")
    worst = 0.0
    for name, values in one.items():
        for metric in COMPARED:
            a, b = values[metric], other[name][metric]
            one_class = metric == "auc" and str(a) == "nan"  # TFMA says 0
            if not one_class:
                worst = max(worst, abs(float(a) - float(b)))
    return worst


def main():
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--from", dest="root", help="root of a finished run")
    parser.add_argument("--runs", type=int, default=3, help="of ours beside stock's")
    parser.add_argument("--no-stock", action="store_true", help="only ours")
    parser.add_argument("--json", type=pathlib.Path, help="write the figures here")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        run_one(json.loads(options.one))
        return
    with tempfile.TemporaryDirectory(prefix="benchmark-evaluation-") as name:
        folder = pathlib.Path(name)
        root = options.root or prepare(folder)
        document = compare(folder, root, options)
    for line in judge(document):
        print(line)
    if options.json:
        versions = ("tfx", "tensorflow-model-analysis", "apache-beam", "numpy")
        document |= {
            "command": f"python benchmarks/evaluation.py --runs {options.runs}",
            "date": datetime.date.today().isoformat(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "versions": {"python": platform.python_version()}
            | {package: importlib.metadata.version(package) for package in versions},
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n")


def compare(folder, root, options):
    """All runs: beside stock by turns, then more slices, then more rows."""
    examples = newest(root, "MultiEnvExampleGen", "examples")
    asked = {"model": newest(root, "Trainer", "model")}
    asked |= {"examples": repeat_split(examples, folder, 1)}
    few, document = [], {}
    for number in range(options.runs):
        run, values = measure(folder, who="ours", slices=FEW, **asked)
        few.append(run)
        if number == 0 and not options.no_stock:  # between ours, on a busy machine
            run, theirs = measure(folder, who="stock", slices=FEW, **asked)
            document["stock"] = run
            document["largest_difference"] = differences(values, theirs)
    document["ours"] = few
    many = [
        measure(folder, who="ours", slices=MANY, **asked)[0]
        for _ in range(options.runs)
    ]
    asked["examples"] = repeat_split(examples, folder, 5)
    rows, _ = measure(folder, who="ours", slices=FEW, **asked)
    return document | {"many_slices": many, "five_times_the_rows": rows}


def judge(document):
    """A line for each bar that can be told."""
    ours_seconds, many = (
        statistics.median(run["seconds"] for run in document[key])
        for key in ("ours", "many_slices")
    )
    if "stock" in document:
        share = ours_seconds / document["stock"]["seconds"]
        held = met(share <= 0.125)
        yield f"time: {share:.3f} of stock's (bars 0.125 and 0.25: {held})"
        worst = document["largest_difference"]
        yield f"values: at most {worst:.1e} apart (bar 1e-9: {met(worst <= 1e-9)})"
    one, more = document["ours"][0]["slices"], document["many_slices"][0]["slices"]
    ratio = many / ours_seconds
    yield f"{more:.0f} slices: {ratio:.2f} times {one:.0f} (bar 3: {met(ratio <= 3)})"
    peak = statistics.median(run["peak_mib"] for run in document["ours"])
    growth = document["five_times_the_rows"]["peak_mib"] / peak
    yield f"5 times the rows: {growth:.2f} times the memory ({met(growth <= 1.25)})"


def met(holds):
    """`met`, or loudly not."""
    return "met" if holds else "NOT MET"


if __name__ == "__main__":
    main()
