"""Writes Colored MNIST as Parquet, a file an environment.

Is the digit below 5? A quarter of the answers is wrong, at random. A digit's colour is
which of two channels its pixels are in. It agrees with the answer but for 20 and 10 %
in the two training environments, and for 90 % in the third: a model that reads the
colour is right in 80 and 90 % and then in 10 %, one that reads the digit in up to 75 %
everywhere.

Columns: `pixels`, 2 x 14 x 14 numbers in [0, 1], of every second pixel a row and a
column; `small`, 1 for a digit below 5 with the noise in it; `digit`, the true one.

Usage: python examples/colored_mnist/make_data.py mnist.npz [--output FOLDER]
           [--train 10000] [--test 5000]

mnist.npz is what keras.datasets.mnist loads. All of it: --train 25000 --test 10000.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

COLOUR_NOISE = {"noise_20": 0.2, "noise_10": 0.1, "turned": 0.9}
LABEL_NOISE = 0.25
HELD_OUT_FROM = 50_000  # the last pictures are the third environment's
LEVELS = 17  # of grey: fewer bytes, and no less legible


def make_tables(
    pictures: np.ndarray, digits: np.ndarray, train: int, test: int, seed: int = 0
) -> dict[str, pa.Table]:
    """The table of each environment.

    Args:
      pictures: [60000, 28, 28] uint8.
      digits: [60000].
      train: rows of each training environment.
      test: rows of the third.
      seed: of order and noise.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(HELD_OUT_FROM)
    rows = {
        "noise_20": order[:train],
        "noise_10": order[train : 2 * train],
        "turned": np.arange(HELD_OUT_FROM, HELD_OUT_FROM + test),
    }
    small = pictures[:, ::2, ::2].reshape(len(pictures), -1) / 255.0
    small = (np.round(small * (LEVELS - 1)) / (LEVELS - 1)).astype(np.float32)
    tables = {}
    for name, mine in rows.items():
        labels = digits[mine] < 5
        labels = labels ^ (random.uniform(size=len(mine)) < LABEL_NOISE)
        colours = labels ^ (random.uniform(size=len(mine)) < COLOUR_NOISE[name])
        pixels = np.zeros((len(mine), 2, small.shape[1]), np.float32)
        pixels[np.arange(len(mine)), colours.astype(int)] = small[mine]
        flat = pixels.reshape(len(mine), -1)
        tables[name] = pa.table(
            {
                "pixels": pa.array(list(flat), pa.list_(pa.float32())),
                "small": labels.astype(np.int64),
                "digit": digits[mine].astype(np.int64),
            }
        )
    return tables


def main() -> None:
    """Reads mnist.npz and writes the files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("mnist", type=Path, help="mnist.npz")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "data")
    parser.add_argument("--train", type=int, default=10_000, help="rows an environment")
    parser.add_argument("--test", type=int, default=5000, help="rows of the third")
    options = parser.parse_args()
    if not 0 < options.train <= HELD_OUT_FROM // 2 or not 0 < options.test <= 10_000:
        parser.error("there are 25,000 rows for --train and 10,000 for --test")
    with np.load(options.mnist) as file:
        pictures, digits = file["x_train"], file["y_train"]
    options.output.mkdir(parents=True, exist_ok=True)
    for name, table in make_tables(
        pictures, digits, options.train, options.test
    ).items():
        path = options.output / f"{name}.parquet"
        pq.write_table(table, path, compression="zstd", compression_level=19)
        print(f"{path}: {table.num_rows:,} rows, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
