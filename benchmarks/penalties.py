"""Times a training step with each method beside the ERM step of the same batch.

    python benchmarks/penalties.py [--methods LIST] [--environments LIST] [--no-xla]
                                   [--repeats N] [--json FILE]

A step is forward, mean risk by environment, penalty, gradient and Adam in one
`tf.function`, without and with XLA, on a random batch whose environments are of unequal
size and in random order. ERM and the method step by turns; the ratio is the median of
the ratios pair by pair, with its quartiles. ERM against itself shows the noise. Memory
is the most that TensorFlow's allocator held in a step, beyond what ERM's took.

The last cases are IRMv1 by a loop over environments, as the papers' code does it; the
PyTorch one is compared with PyTorch's ERM step.

Bars are for two cores without XLA; see CASES. "flat": at most FLAT above the ratio at
the fewest environments, or above 1 if that is more. "linear": beyond 16 the time above
ERM's grows as they do.
"""

import argparse
import dataclasses
import datetime
import gc
import itertools
import json
import os
import pathlib
import platform
import statistics
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks import irm_loop
from trainer_module import objectives, penalties
from trainer_module.features import Feature
from trainer_module.keras3 import keras
from trainer_module.model import build_model, call_model
from trainer_module.settings import ModelSettings

ENVIRONMENTS = (2, 16, 128, 1024)
FEWEST, SECONDS = 3, 2.5  # pairs of steps in any cell; no more of them after so long
LEARNING_RATE = 1e-4
FLAT = 0.05


@dataclasses.dataclass(frozen=True)
class Case:
    """A method with options.

    Attributes:
      method: its name, or "irm_loop".
      options: those that are not the default.
      bar: the largest ratio that is asked for, or None.
      up_to: the most environments that the bar is for.
      growth: "flat", "linear" or None, as the module says.
      left_out: environments -> why they are not measured.
    """

    method: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    bar: float | None = None
    up_to: int = ENVIRONMENTS[-1]
    growth: str | None = None
    left_out: Mapping[int, str] = dataclasses.field(default_factory=dict)

    @property
    def label(self):
        """The method and its options."""
        options = [f"{key}={value}" for key, value in self.options.items()]
        return " ".join([self.method, *options])


LINEAR = {"bar": 1.10, "growth": "flat"}
EXACT = {"bar": 1.15, "up_to": 128}
PAIRS = {"bar": 1.5, "up_to": 16}
POOLED = {**PAIRS, "growth": "linear"}
MANY = {1024: "the points of 523,776 pairs don't fit into memory"}
TO_POOLED = {"reference": "pooled"}
REPRESENTATIONS = {"on": "representations"}
SLICED = {"solver": "sliced", **REPRESENTATIONS}
SINKHORN = {"solver": "sinkhorn", **REPRESENTATIONS}

CASES = (
    *(Case(name, **LINEAR) for name in ("erm", "irm_v1", "v_rex", "mm_rex", "eqrm")),
    *(Case(name, **LINEAR) for name in ("group_dro", "sd", "ib_erm", "ib_irm")),
    Case("fishr", **LINEAR),
    Case("iga"),
    Case("moment_matching", **LINEAR),
    Case("moment_matching", REPRESENTATIONS, **LINEAR),
    Case("wasserstein", {"order": 1}, **EXACT),
    Case("wasserstein", {"order": 2}, **EXACT),
    Case("wasserstein", TO_POOLED, growth="linear"),
    Case("wasserstein", {**SLICED, "order": 1}, **PAIRS),
    Case("wasserstein", {**SLICED, "order": 2}, **PAIRS),
    Case("wasserstein", {**SLICED, **TO_POOLED}, **POOLED),
    Case("wasserstein", SINKHORN, **PAIRS, left_out=MANY),
    Case("wasserstein", {**SINKHORN, **TO_POOLED}, **POOLED),
    Case("coral", **PAIRS),
    Case("coral", TO_POOLED, **POOLED),
    Case("mmd", **PAIRS),
    Case("mmd", {"estimator": "exact"}, **PAIRS),
    Case("mmd", TO_POOLED, **POOLED),
    Case("caus_irl"),
    Case("caus_irl", {"distance": "coral"}),
    Case("dann"),
    Case("cdann"),
    Case("adversarial", {"kind": "fgsm"}, bar=2.8),
    *(
        Case("adversarial", {"kind": "pgd", "steps": k}, bar=0.8 * k + 2.3)
        for k in (3, 7)
    ),
    Case("irm_loop", {"in": "TensorFlow"}, left_out={1024: "minutes to trace"}),
    Case("irm_loop", {"in": "PyTorch"}),
)


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Rows of a batch, features, units of the hidden layers."""

    rows: int = 4096
    features: int = 392
    hidden: tuple[int, ...] = (390, 390)


def draw(sizes, environments):
    """Features [B, D], labels [B, 1] and ids [B], NumPy, the same in every call."""
    random = np.random.default_rng(environments)
    shares = random.uniform(0.2, 1.0, environments)
    more = sizes.rows - environments
    ids = random.choice(environments, more, p=shares / shares.sum())
    ids = random.permutation(np.concatenate([np.arange(environments), ids]))
    features = random.normal(size=(sizes.rows, sizes.features))
    labels = features[:, :1] + random.normal(size=(sizes.rows, 1)) > 0
    return features.astype("float32"), labels.astype("float32"), ids.astype("int32")


def make_step(objective, sizes, environments, xla):
    """A function that takes a step with a network of its own and returns its loss."""
    keras.utils.set_random_seed(0)
    inputs = [Feature("dense_x", width=sizes.features)]
    model = build_model(inputs, ModelSettings(hidden=sizes.hidden))
    shapes = objectives.Shapes(environments, sizes.hidden[-1], 1, "binary", 0)
    objective.build(shapes)
    variables = [*model.trainable_variables, *objective.trainable_variables]
    optimizer = keras.optimizers.Adam(LEARNING_RATE)
    optimizer.build(variables)

    def forward(features, training):
        return call_model(model, features, training)

    example = {"dense_x": tf.zeros([1, sizes.features])}
    keep = objective.starts_from_clean_pass and objectives.modes_agree(forward, example)

    @tf.function(jit_compile=xla, autograph=False)
    def step(features, labels, ids):
        features = {"dense_x": features}
        number = tf.cast(optimizer.iterations.value, tf.int64)
        with tf.GradientTape() as tape:
            logits, representations, pullback = objectives.clean_pass(
                forward, features, keep
            )
            batch = penalties.EnvironmentBatch(
                logits, labels, ids, environments, representations=representations
            )
            seen = objectives.Step(batch, features, forward, number, pullback)
            loss = objective(seen)
            if not objective.replaces_risk:
                groups = penalties.group_by_environment(batch)
                risks = groups.mean(penalties.per_example_loss(batch))
                loss += groups.average(risks)
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    arrays = [tf.constant(array) for array in draw(sizes, environments)]
    return lambda: float(step(*arrays))


def make_steps(case, erm, sizes, environments, xla):
    """The two steps to compare: `erm`, or PyTorch's, and the case's."""
    if case.options.get("in") == "PyTorch":
        arrays = draw(sizes, environments)
        return irm_loop.torch_steps(*arrays, sizes.hidden, LEARNING_RATE)
    if case.method == "irm_loop":
        objective = irm_loop.TensorFlowLoop()
    else:
        objective = objectives.get(case.method, **case.options)
    return erm, make_step(objective, sizes, environments, xla)


def timed(step):
    """Seconds of a call."""
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def peak_memory(step):
    """MiB that a call held at most beyond what was held before; 0 if unknown."""
    device = "GPU:0" if tf.config.list_logical_devices("GPU") else "CPU:0"
    try:
        tf.config.experimental.reset_memory_stats(device)
    except ValueError:  # this allocator doesn't count: TensorFlow without oneDNN
        return 0.0
    before = tf.config.experimental.get_memory_info(device)["current"]
    step()
    return (tf.config.experimental.get_memory_info(device)["peak"] - before) / 2**20


def measure(steps, repeats):
    """The figures of one cell, from ERM's step and the method's."""
    losses = [step() for step in (*steps, *steps)]  # traces, compiles, warms up
    if not np.isfinite(losses).all():
        raise ValueError(f"The loss is not finite: {losses}")
    times, began = [], time.perf_counter()
    while len(times) < repeats:
        if len(times) >= FEWEST and time.perf_counter() - began > SECONDS:
            break
        times.append([timed(step) for step in steps])
    low, ratio, high = np.percentile([b / a for a, b in times], [25, 50, 75])
    erm, own = (1e3 * statistics.median(column) for column in zip(*times, strict=True))
    figures = {"ratio": ratio, "low": low, "high": high, "ms": own, "erm_ms": erm}
    peaks = [peak_memory(step) for step in steps]
    if all(peaks):  # PyTorch's are 0, because its memory is not TensorFlow's
        figures |= {"peak_mib": peaks[1], "mib_above_erm": peaks[1] - peaks[0]}
    return {key: round(float(value), 4) for key, value in figures.items()} | {
        "pairs": len(times)
    }


def why_not(case, environments, xla):
    """Why a cell is left out, or None."""
    if case.method == "irm_loop" and xla:
        return "rows by a mask have no static shape, which XLA needs"
    if case.options.get("in") == "PyTorch" and not irm_loop.torch_installed():
        return "torch is not installed"
    return case.left_out.get(environments)


def run(cases, sizes, counts, modes, repeats):
    """Measures cell by cell, prints a line for each, and returns them."""
    rows = []
    print(f"{'case':<64} envs XLA  ratio (quartiles)       ms   MiB above ERM")
    for environments, xla in itertools.product(counts, modes):
        erm = make_step(objectives.get("erm"), sizes, environments, xla)
        for case in cases:
            row = {"case": case.label, "environments": environments, "xla": xla}
            if left_out := why_not(case, environments, xla):
                row["left_out"] = left_out
            else:
                try:
                    steps = make_steps(case, erm, sizes, environments, xla)
                    # No bar is for XLA: half as many do.
                    row |= measure(steps, repeats // 2 if xla else repeats)
                except Exception as error:  # the figures of the others are kept
                    row["error"] = f"{type(error).__name__}: {error}"[:500]
            print(line(row), flush=True)
            rows.append(row)
            gc.collect()
    return rows


def line(row):
    """A cell as a line of the table."""
    head = (
        f"{row['case']:<64} {row['environments']:>4} {'on ' if row['xla'] else 'off'}"
    )
    if "ratio" not in row:
        return f"{head}      - {row.get('left_out') or row['error']}"
    memory = f"{row['mib_above_erm']:.0f}" if "mib_above_erm" in row else "-"
    spread = f"({row['low']:.2f} to {row['high']:.2f})"
    return f"{head} {row['ratio']:6.2f} {spread} {row['ms']:8.1f} {memory:>6}"


def judge(case, rows):
    """A case's ratios without XLA by number of environments, and what misses a bar."""
    ratios, missed = {}, []
    for row in rows:
        if row["case"] == case.label and not row["xla"] and "ratio" in row:
            count, ratio = row["environments"], row["ratio"]
            bars = [case.bar] if case.bar and count <= case.up_to else []
            if case.growth == "flat" and ratios:
                bars.append(max(ratios[min(ratios)], 1) + FLAT)
            if case.growth == "linear" and 16 in ratios:
                bars.append(1 + max(ratios[16] - 1, FLAT) * count / 16)
            if bars and ratio > min(bars):
                missed.append(f"{ratio:.2f} at {count} (bar {min(bars):.2f})")
            ratios[count] = ratio
    return ratios, missed


def machine():
    """What the figures are taken on."""
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [text.split(":")[1].strip() for text in lines if "model name" in text]
    gpus = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    return {
        "cpu": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "gpu": details[0].get("device_name", "unknown") if gpus else None,
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }


def main():
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = sorted({case.method for case in CASES})
    parser.add_argument("--methods", default=",".join(names), help="default: all")
    parser.add_argument("--environments", default=",".join(map(str, ENVIRONMENTS)))
    parser.add_argument("--no-xla", action="store_true", help="only without XLA")
    parser.add_argument("--repeats", type=int, default=11, help="pairs of steps a cell")
    parser.add_argument("--json", help="also write the figures to this file")
    options = parser.parse_args()
    if unknown := set(options.methods.split(",")) - set(names):
        parser.error(f"unknown: {', '.join(unknown)}; expected of {', '.join(names)}")
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    result = {
        "machine": machine(),
        "date": datetime.date.today().isoformat(),
        "command": "python " + " ".join(sys.argv),
        "settings": {**dataclasses.asdict(Sizes()), "repeats": options.repeats},
    }
    print(json.dumps(result["machine"]), flush=True)
    cases = [case for case in CASES if case.method in options.methods.split(",")]
    counts = sorted(int(count) for count in options.environments.split(","))
    modes = [False] if options.no_xla else [False, True]
    rows = result["rows"] = run(cases, Sizes(), counts, modes, options.repeats)
    print(f"\nratios without XLA at {counts} environments; bars of two cores")
    for case in cases:
        ratios, missed = judge(case, rows)
        cells = [f"{ratios[n]:7.2f}" if n in ratios else "      -" for n in counts]
        asked = "met" if case.bar or case.growth else "no bar"
        print(f"{case.label:<64}{''.join(cells)}  ", end="")
        print("NOT MET: " + ", ".join(missed) if missed else asked)
        result.setdefault("missed", {})[case.label] = missed
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(result, indent=1) + "\n")
    if any("error" in row for row in rows):
        sys.exit("Some cells failed: see the table")


if __name__ == "__main__":
    main()
