"""Colored MNIST by the papers' protocol, through the registry and the real loop.

    python benchmarks/colored_mnist.py --methods erm,irm_v1 --seeds 3 \
        [--mnist FILE] [--json FILE] [--batch-sizes full,1024]

Two training environments of 25,000 digits each: is it below 5, with 25 % of the labels
wrong; the colour agrees with the label but for 20 and 10 %. The test environment has
the remaining 10,000 digits, and there the colour is wrong in 90 %. Pictures are 14 x 14
in two colours. What sees no colour is right in at most 75 %. 501 steps; full batches,
and batches of 1,024 as a second table. A seed draws noise, environments and network.

Hyperparameters stand in `SETTINGS`, those of a paper where it gives them. For what has
none published there is one rule: everything as in the IRM paper, its weight for every
penalty of a sum, and Adam starts anew when the weight rises. The rule, and that it is
applied to moment matching with V-REx, were chosen on other pictures: training on the
first 40,000, testing on the next 10,000, one seed of its own, some fifteen trials.
Nothing is picked by the test figure: it is the accuracy after the last step.

With --json FILE, runs that the file has already are not repeated, and each is written
when it ends. MNIST comes from --mnist, or from Keras, which downloads it.
"""

import argparse
import dataclasses
import datetime
import json
import os
import pathlib
import platform
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np

from trainer_module.data import Layout, Split
from trainer_module.devices import use_devices
from trainer_module.features import Feature
from trainer_module.fit import fit
from trainer_module.keras3 import keras
from trainer_module.settings import TrainSettings

import tensorflow as tf  # isort:skip

COLOUR_NOISE = {"train_20": 0.2, "train_10": 0.1, "test": 0.9}
LABEL_NOISE = 0.25
PIXELS = Feature("dense_pixels", width=2 * 14 * 14)


@dataclasses.dataclass(frozen=True)
class Setting:
    """How one method is trained, and what was published.

    Attributes:
      methods: the options of each method of the sum, by name.
      weight: of each penalty, after `anneal_steps` (the papers' lambda).
      hidden, l2, learning_rate, anneal_steps: as the papers call them; L2 is on every
        weight and bias.
      reset: whether Adam starts anew when the weight rises.
      published: mean and standard deviation of the test accuracy, %, over 10 runs.
      note: where the numbers come from.
    """

    methods: dict[str, dict]
    weight: float = 91257.18613115903
    hidden: int = 390
    l2: float = 0.00110794568
    learning_rate: float = 0.0004898536566546834
    anneal_steps: int = 190
    reset: bool = False
    published: tuple[float, float] | None = None
    note: str = "the IRM paper's"


REX = {"hidden": 256, "l2": 0.0005, "learning_rate": 0.001, "anneal_steps": 100}
WITHIN_CLASSES = {"conditional": True, "on": "representations"}
SETTINGS = {
    "erm": Setting(
        {"erm": {}},
        weight=0.0,
        hidden=256,
        l2=0.001,
        learning_rate=0.001,
        published=(17.1, 0.7),
        note="the IRM paper's for ERM",
    ),
    "irm_v1": Setting({"irm_v1": {}}, published=(66.9, 2.5)),
    "irm_v1_unbiased": Setting({"irm_v1": {"unbiased": True}}),
    "v_rex": Setting(
        {"v_rex": {}},
        weight=20000.0,
        **REX,
        published=(68.7, 0.9),
        note="the REx paper's; its code sums the two risks and squares their "
        "difference, so its 10,000 is a weight of 20,000 on our variance, and its L2 "
        "of 0.001 is half of that on our mean",
    ),
    "mm_rex": Setting(
        {"mm_rex": {"lambda_min": -4999.5}},
        weight=1.0,
        **REX,
        published=(66.1, 1.5),
        note="the REx paper's; its code adds 10,000 times the difference of the two "
        "risks to their sum, which is a lambda_min of -4,999.5",
    ),
    "fishr": Setting(
        {"fishr": {}},
        weight=2 * 91257.18613115903,
        published=(69.5, 1.0),
        note="the Fishr paper's, which are the IRM paper's; its code sums over the two "
        "environments, where the paper and we take the mean",
    ),
    "wasserstein": Setting({"wasserstein": {"conditional": True}}, reset=True),
    "coral": Setting({"coral": {"conditional": True}}, reset=True),
    "moment_matching": Setting({"moment_matching": WITHIN_CLASSES}, reset=True),
    "moment_matching+v_rex": Setting(
        {"moment_matching": WITHIN_CLASSES, "v_rex": {}}, reset=True
    ),
}


def main() -> None:
    """Runs what is missing and prints the tables."""
    options = parse()
    device = use_devices()
    digits = load_digits(options.mnist)
    rows = load_rows(options.json)
    for size in options.batch_sizes:
        for name in options.methods:
            for seed in range(options.seeds):
                setting = hyperparameters(SETTINGS[name])
                key = {"method": name, "batch": size, "seed": seed}
                if any(row == row | key | {"setting": setting} for row in rows):
                    continue
                row = run(digits, SETTINGS[name], size, seed)
                row = key | row | {"setting": setting, "device": device_name(device)}
                print(
                    f"{name}, batch {size}, seed {seed}: test {row['test']:.1f} %, "
                    f"training {row['train']:.1f} %, {row['seconds']:.0f} s",
                    flush=True,
                )
                rows = [r for r in rows if r != r | key] + [row]
                if options.json:
                    save_rows(options.json, rows)
        print_table(rows, options.methods, size)


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--methods", default=",".join(SETTINGS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--batch-sizes", default="full,1024")
    parser.add_argument("--mnist", help="mnist.npz as keras.datasets.mnist has it")
    parser.add_argument("--json", type=pathlib.Path, help="write the figures here")
    options = parser.parse_args()
    options.methods = options.methods.split(",")
    unknown = sorted(set(options.methods) - set(SETTINGS))
    if unknown:
        parser.error(f"--methods has {unknown[0]!r}; there are {', '.join(SETTINGS)}")
    options.batch_sizes = [
        size if size == "full" else int(size) for size in options.batch_sizes.split(",")
    ]
    return options


def hyperparameters(setting: Setting) -> dict:
    """What a run hangs on, as JSON has it."""
    values = dataclasses.asdict(setting)
    del values["published"], values["note"]
    return values


def load_digits(path: str | None) -> tuple[np.ndarray, np.ndarray]:
    """The 60,000 training pictures of MNIST and their digits."""
    if path is None:
        (pictures, digits), _ = keras.datasets.mnist.load_data()
        return pictures, digits
    with np.load(path) as file:
        return file["x_train"], file["y_train"]


def make_environments(
    digits: tuple[np.ndarray, np.ndarray], seed: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Pixels [N, 392] in [0, 1] and labels [N] of each environment."""
    random = np.random.default_rng(seed)
    order = random.permutation(50_000)
    rows = {
        "train_20": order[::2],
        "train_10": order[1::2],
        "test": np.arange(50_000, 60_000),
    }
    pictures = digits[0][:, ::2, ::2].reshape(len(digits[0]), -1) / np.float32(255)
    environments = {}
    for name, mine in rows.items():
        labels = digits[1][mine] < 5
        labels = labels ^ (random.uniform(size=len(mine)) < LABEL_NOISE)
        colours = labels ^ (random.uniform(size=len(mine)) < COLOUR_NOISE[name])
        pixels = np.zeros((len(mine), 2, 14 * 14), np.float32)
        pixels[np.arange(len(mine)), colours.astype(int)] = pictures[mine]
        environments[name] = (pixels.reshape(len(mine), -1), labels.astype(np.float32))
    return environments


def make_split(environments: dict[str, tuple[np.ndarray, np.ndarray]]) -> Split:
    """The training environments, packed as the Trainer packs them."""
    names = tuple(name for name in environments if name != "test")
    pixels, labels = (
        np.concatenate([environments[n][i] for n in names]) for i in (0, 1)
    )
    counts = np.array([len(environments[name][1]) for name in names])
    ids = np.repeat(np.arange(len(names)), counts)
    with tf.device("CPU"):
        memory = (
            tf.constant(np.hstack([pixels, labels[:, None]])),
            tf.constant(ids[:, None].astype(np.int32)),
        )
    layout = Layout((PIXELS,), weighted=False)
    return Split(layout, names, counts, tf.data.Dataset.from_tensors(memory), memory)


def make_model(setting: Setting) -> keras.Model:
    """The papers' network: two hidden layers, L2 on everything."""
    penalty = keras.regularizers.L2(setting.l2)
    decay = {"kernel_regularizer": penalty, "bias_regularizer": penalty}
    pixels = keras.Input((PIXELS.width,), name=PIXELS.name)
    hidden = pixels
    for _ in range(2):
        hidden = keras.layers.Dense(setting.hidden, activation="relu", **decay)(hidden)
    logits = keras.layers.Dense(1, **decay)(hidden)
    return keras.Model({PIXELS.name: pixels}, (logits, hidden))


def run(
    digits: tuple[np.ndarray, np.ndarray], setting: Setting, batch: int | str, seed: int
) -> dict:
    """One run: accuracies in % after the last step, and seconds."""
    return run_on(make_environments(digits, seed), setting, batch, seed)


def run_on(
    environments: dict[str, tuple[np.ndarray, np.ndarray]],
    setting: Setting,
    batch: int | str,
    seed: int,
) -> dict:
    """The same on environments that are made already; all but `test` are trained on."""
    split = make_split(environments)
    settings = TrainSettings.from_config(
        {
            "label": "label",
            "environments": list(split.environments),
            "methods": [
                {"name": name, "weight": setting.weight, "options": options}
                for name, options in setting.methods.items()
            ],
            "schedule": {
                "kind": "step",
                "anneal_steps": setting.anneal_steps,
                "reset_optimizer": setting.reset,
            },
            "steps": 501,
            "batch_size": int(split.counts.sum()) if batch == "full" else batch,
            "learning_rate": setting.learning_rate,
            "seed": seed,
            "log_every": 50,
        }
    )
    keras.utils.set_random_seed(seed)
    model = make_model(setting)
    started = time.monotonic()
    fit(model, [split], settings)
    seconds = time.monotonic() - started
    right = {
        name: float(np.mean((score(model, pixels) > 0) == labels)) * 100
        for name, (pixels, labels) in environments.items()
    }
    train = np.mean([right[name] for name in split.environments])
    return {"test": right["test"], "train": float(train), "seconds": seconds}


def score(model: keras.Model, pixels: np.ndarray) -> np.ndarray:
    """Logits [N]."""
    return model({PIXELS.name: pixels}, training=False)[0].numpy()[:, 0]


def print_table(rows: list[dict], names: list[str], size: int | str) -> None:
    """Mean and standard deviation over the seeds, beside what was published."""
    print(
        f"\nBatches: {size}. Test accuracy in %, mean (standard deviation) over seeds"
    )
    print(
        "| method | test | published | training | seeds | options | weight | hidden, "
        "L2, learning rate, warm-up |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name in names:
        found = [r for r in rows if (r["method"], r["batch"]) == (name, size)]
        test = [row["test"] for row in found]
        setting = SETTINGS[name]
        options = ", ".join(
            f"{option}={value}"
            for options in setting.methods.values()
            for option, value in options.items()
        )
        cells = [
            name,
            f"{np.mean(test):.1f} ({np.std(test):.1f})",
            "{:.1f} ({:.1f})".format(*setting.published) if setting.published else "",
            f"{np.mean([row['train'] for row in found]):.1f}",
            str(len(test)),
            options,
            f"{setting.weight:,.0f}",
            f"{setting.hidden}, {setting.l2:.2g}, {setting.learning_rate:.2g}, "
            f"{setting.anneal_steps}{', Adam anew' * setting.reset}",
        ]
        print("| " + " | ".join(cells) + " |")
    print(flush=True)


def device_name(device: str) -> str:
    """The card, or the processor with its number of cores."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = tf.config.experimental.get_device_details(gpus[0])
        return details.get("device_name", device)
    return f"{platform.machine()} CPU, {len(os.sched_getaffinity(0))} cores"


def load_rows(path: pathlib.Path | None) -> list[dict]:
    """Runs of earlier calls."""
    if path is None or not path.exists():
        return []
    return json.loads(path.read_text())["runs"]


def save_rows(path: pathlib.Path, rows: list[dict]) -> None:
    """Writes every run, with the command that gives them all, and the date."""
    methods = ",".join(dict.fromkeys(row["method"] for row in rows))
    sizes = ",".join(dict.fromkeys(str(row["batch"]) for row in rows))
    seeds = 1 + max(row["seed"] for row in rows)
    document = {
        "command": f"python benchmarks/colored_mnist.py --methods {methods} "
        f"--seeds {seeds} --batch-sizes {sizes}",
        "date": datetime.date.today().isoformat(),
        "tensorflow": tf.__version__,
        "runs": rows,
    }
    path.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
