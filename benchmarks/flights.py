"""Runs the demo under several methods and networks and prints the README's table.

    python benchmarks/flights.py [--json FILE]

One seed each, through the real pipeline; ingestion to Transform are shared. Figures are
AUC / log loss / calibration slope of each environment, and the verdict.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
LARGE = ["--set", "train.model={hidden: [256, 128]}"]
RUNS = {
    "erm, 256-128": ["--method", "erm", *LARGE],
    "v_rex, weight 100, 256-128": ["--set", "train.penalty.weight=100", *LARGE],
    "erm, 64, L2": ["--method", "erm"],
    "irm_v1, weight 10, 64, L2": ["--method", "irm_v1"],
    "v_rex, weight 10, 64, L2 (the demo)": [],
}
PLACES = {"EWR": "eval", "JFK": "eval", "LGA": "ood"}


def run(root, arguments):
    """One run: environment -> [AUC, log loss, calibration slope], and the verdict."""
    config = REPOSITORY / "examples" / "flights" / "config.yaml"
    command = [sys.executable, "-m", "pipeline.cli", "run", str(config)]
    settings = ["--set", f"root={root}", "--set", f"push.path={root}/serving"]
    done = subprocess.run([*command, *settings, *arguments], cwd=REPOSITORY)
    if done.returncode not in (0, 3):
        sys.exit(f"{arguments} ended with {done.returncode}")
    last = sorted((root / "runs").iterdir())[-1]
    summary = json.loads((last / "summary.json").read_text())
    figures = {}
    for name, split in PLACES.items():
        found = summary["metrics"][split][f"environment={name}"]
        figures[name] = [found[m] for m in ("auc", "log_loss", "calibration_slope")]
    return {**figures, "verdict": summary["verdict"]}


def main():
    """Runs all settings, prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", help="also write the figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="benchmark-flights-") as root:
        table = {name: run(pathlib.Path(root), args) for name, args in RUNS.items()}
    print()
    for name, row in table.items():
        cells = [f"{a:.3f} / {b:.3f} / {c:.2f}" for a, b, c in map(row.get, PLACES)]
        print("| " + " | ".join([name, *cells, row["verdict"]]) + " |")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
