"""Does EIIL find the environments of Colored MNIST, and does it help to have them?

    python benchmarks/inference.py [--mnist FILE] [--json FILE]

Pictures, colours and labels are those of benchmarks/colored_mnist.py, with `--rows` of
each training environment. The two are written to one Parquet file without their names
and go through the component's own `infer`. Two agreements are measured, each beside a
99 % permutation interval of chance:

  colour  balanced accuracy for "the colour agrees with the label": what a shortcut is;
  truth   accuracy for the true environment. Whoever splits by colour alone is right in
          at most 55 %: half of the rows in 90 %, half of them in 20 %.

Then the loop trains with the papers' hyperparameters and batches of 1,024: ERM on the
pool, ERM with both inferred environments at equal weight, IRMv1 and V-REx on the
inferred environments, IRMv1 on the true ones. Test accuracy is after the last step.

With --json FILE, what the file has already is not repeated.
"""

import argparse
import datetime
import json
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks import colored_mnist
from trainer_module.devices import use_devices

import apache_beam as beam  # isort:skip
import pyarrow as pa  # isort:skip
import pyarrow.parquet as pq  # isort:skip

from components.environment_inferrer import infer, rule  # isort:skip
from components.multi_env_example_gen import shards  # isort:skip
from components.source_manifest import listing  # isort:skip

RUNNER = "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"
TRUE = ("train_20", "train_10")
SHUFFLES, BATCH = 2000, 1024
# Name of a run -> setting, and which environments it is trained on.
RUNS = {
    "erm, pooled": ("erm", "pooled"),
    "erm, inferred": ("erm", "inferred"),
    "irm_v1, inferred": ("irm_v1", "inferred"),
    "v_rex, inferred": ("v_rex", "inferred"),
    "irm_v1, true": ("irm_v1", "true"),
}
Environments = dict[str, tuple[np.ndarray, np.ndarray]]


def main() -> None:
    """Runs what is missing and prints it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=25_000, help="an environment")
    parser.add_argument("--method", default="eiil", choices=("eiil", "clusters"))
    parser.add_argument("--mnist", help="mnist.npz as keras.datasets.mnist has it")
    parser.add_argument("--json", type=pathlib.Path, help="write the figures here")
    options = parser.parse_args()
    device = use_devices()
    digits = colored_mnist.load_digits(options.mnist)
    found = json.loads(options.json.read_text()) if _is_file(options.json) else {}
    seeds = found.get("seeds", {})
    for seed in range(options.seeds):
        key = f"{options.method}, {options.rows} rows, seed {seed}"
        entry = seeds.setdefault(key, {})
        known = reduced(colored_mnist.make_environments(digits, seed), options.rows)
        assigned, entry["inference"] = inferred(known, options.method, seed)
        entry["agreement"] = agreement(known, assigned, seed)
        print(f"{key}: {json.dumps(entry['agreement'])}", flush=True)
        for name, (setting, kind) in RUNS.items():
            if name not in entry.setdefault("accuracy", {}):
                environments = arranged(known, assigned, kind)
                entry["accuracy"][name] = train(environments, setting, seed)
                print(f"  {name}: {entry['accuracy'][name]}", flush=True)
            _save(options.json, seeds, colored_mnist.device_name(device))
    print_table(seeds, options)


def reduced(environments: Environments, rows: int) -> Environments:
    """The first rows of each training environment; all of the test environment."""
    return {
        name: (pixels, labels) if name == "test" else (pixels[:rows], labels[:rows])
        for name, (pixels, labels) in environments.items()
    }


def inferred(
    environments: Environments, method: str, seed: int
) -> tuple[np.ndarray, dict]:
    """The inferred environment of each pooled row, 0 or 1, and how certain they are."""
    pixels, labels = pooled(environments)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "pooled.parquet")
        table = pa.table(
            {
                "pixels": pa.array(list(pixels), pa.list_(pa.float32())),
                "small": labels.astype(np.int64),
                "row": np.arange(len(labels)),
            }
        )
        pq.write_table(table, path, row_group_size=5000)
        source = {"environment": None, "format": "parquet", "held_out": False}
        files, found = infer.infer(
            listing.build_manifest([{**source, "patterns": [str(path)]}]),
            shards.Spec({"name": "small"}, 0.2, (), ()),
            rule.Settings(method=method, seed=seed),
            {"dense": {"pixels": colored_mnist.PIXELS.width}},
            ["small", "row"],
            str(pathlib.Path(folder, "out")),
            lambda: beam.Pipeline(argv=[RUNNER]),
        )
        assigned = np.full(len(labels), -1)
        for file in files:
            rows = pq.read_table(file.path, columns=["row"])["row"].to_numpy()
            assigned[rows] = int(file.environment[-1]) - 1
    return assigned, found


def pooled(environments: Environments) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and labels of the training environments, one after the other."""
    pixels, labels = zip(*(environments[name] for name in TRUE), strict=True)
    return np.concatenate(pixels), np.concatenate(labels)


def agreement(environments: Environments, assigned: np.ndarray, seed: int) -> dict:
    """Agreement with colour and truth: value, and what chance gives."""
    pixels, labels = pooled(environments)
    colours = pixels.reshape(len(pixels), 2, -1).sum(axis=2)[:, 1] > 0
    truth = np.repeat([0, 1], [len(environments[name][1]) for name in TRUE])
    random = np.random.default_rng(seed)
    result = {}
    for name, target in (("colour", colours == (labels > 0)), ("truth", truth)):
        shuffled = [
            balanced_accuracy(random.permutation(assigned), target)
            for _ in range(SHUFFLES)
        ]
        low, high = np.quantile(shuffled, [0.005, 0.995])
        result[name] = {
            "value": round(balanced_accuracy(assigned, target), 4),
            "chance": [round(float(low), 4), round(float(high), 4)],
        }
    return result


def balanced_accuracy(assigned: np.ndarray, target: np.ndarray) -> float:
    """Of a split that does not say which side is which: the better naming."""
    sides = [np.mean(assigned[target == value] == 1) for value in (0, 1)]
    return float(0.5 + abs(sides[1] - sides[0]) / 2)


def arranged(
    environments: Environments, assigned: np.ndarray, kind: str
) -> Environments:
    """The training rows as one environment, as inferred, or as they truly were."""
    if kind == "true":
        return environments
    pixels, labels = pooled(environments)
    if kind == "pooled":
        return {"pooled": (pixels, labels), "test": environments["test"]}
    parts = {
        f"inferred-{i + 1}": (pixels[assigned == i], labels[assigned == i])
        for i in range(assigned.max() + 1)
    }
    return {**parts, "test": environments["test"]}


def train(environments: Environments, setting: str, seed: int) -> dict:
    """Accuracies in % after the last step."""
    found = colored_mnist.run_on(
        environments, colored_mnist.SETTINGS[setting], BATCH, seed
    )
    return {key: round(value, 2) for key, value in found.items()}


def _is_file(path: pathlib.Path | None) -> bool:
    return path is not None and path.exists()


def _save(path: pathlib.Path | None, seeds: dict, device: str) -> None:
    if path is None:
        return
    document = {
        "command": "python benchmarks/inference.py",
        "date": datetime.date.today().isoformat(),
        "device": device,
        "settings": {
            name: colored_mnist.hyperparameters(colored_mnist.SETTINGS[setting])
            for name, (setting, _) in RUNS.items()
        },
        "seeds": seeds,
    }
    path.write_text(json.dumps(document, indent=1) + "\n")


def print_table(seeds: dict, options: argparse.Namespace) -> None:
    """Agreement by seed, then mean and standard deviation of the accuracies."""
    start = f"{options.method}, {options.rows} rows"
    mine = [entry for key, entry in seeds.items() if key.startswith(start)]
    print("\n| agreement with | value, by seed | chance, 99 % |")
    print("|---|---|---|")
    for name in ("colour", "truth"):
        values = ", ".join(f"{e['agreement'][name]['value']:.3f}" for e in mine)
        high = max(e["agreement"][name]["chance"][1] for e in mine)
        print(f"| {name} | {values} | at most {high:.3f} |")
    print("\n| trained | test accuracy in %, mean (standard deviation) |")
    print("|---|---|")
    for name in RUNS:
        tests = [entry["accuracy"][name]["test"] for entry in mine]
        print(f"| {name} | {np.mean(tests):.1f} ({np.std(tests):.1f}) |")


if __name__ == "__main__":
    main()
