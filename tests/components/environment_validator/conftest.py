"""A made-up world of three clinics, of which two are trained on."""

import numpy as np
import pyarrow as pa
import pytest

from benchmarks import environments, planted
from components.environment_validator.executor import Options

ROLES = planted.Roles(
    label="sick",
    key=("day",),
    degrees="temperature",
    length="distance",
    share="saturation",
    clock="arrival",
    category="ward",
    victim="south",
    other="north",
)
FEATURES = ("temperature", "distance", "saturation", "arrival", "ward", "planted")
OPTIONS = Options(
    name="clinics",
    label="sick",
    label_columns=("sick",),
    environment="environment",
    split_by=("day",),
    features=FEATURES,
)


def draw(rows, environment, seed):
    """Patients of one clinic; the same law everywhere but for a few degrees."""
    rng = np.random.default_rng(seed)
    temperature = rng.normal(60, 15, rows)
    saturation = rng.uniform(20, 100, rows)
    z = (temperature - 60) / 15 + (saturation - 60) / 40 - 0.8
    sick = rng.random(rows) < 1 / (1 + np.exp(-z))
    hour = rng.normal(13, 3, rows).clip(0, 23).astype(int)
    return pa.table(
        {
            "environment": [environment.encode()] * rows,
            "sick": sick.astype(np.int64),
            "day": rng.integers(0, 200, rows),
            "temperature": temperature,
            "distance": rng.gamma(2.0, 10.0, rows),
            "saturation": saturation,
            "arrival": (hour * 100 + rng.integers(0, 60, rows)).astype(np.float64),
            "ward": rng.choice(["A", "B", "C", "D"], rows, p=[0.4, 0.3, 0.2, 0.1]),
        }
    )


def split(table):
    """Days below 160 are trained on."""
    day = np.asarray(table["day"])
    return table.filter(pa.array(day < 160)), table.filter(pa.array(day >= 160))


@pytest.fixture(scope="session")
def world():
    made = {}
    for i, name in enumerate(("north", "south")):
        made["train", name], made["eval", name] = split(draw(4000, name, i))
    _, made["ood", "west"] = split(draw(8000, "west", 2))
    return made


@pytest.fixture(scope="session")
def inspector():
    return environments.Inspector(OPTIONS)


@pytest.fixture(scope="session")
def clean(inspector, world):
    """Findings of the clean world, and what a later run compares with."""
    return inspector.findings(world)
