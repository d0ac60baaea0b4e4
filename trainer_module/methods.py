"""The table of methods that a config may name, without TensorFlow.

Config validation answers in well under a second because it reads this table instead
of importing the penalties. `trainer_module.penalties` and `trainer_module.objectives`
hold the code; a test keeps all in step.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from trainer_module.options import Option, choice, flag, number, numbers

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclasses.dataclass(frozen=True)
class MethodInfo:
    """What a config may say about one method.

    Attributes:
      kind: "baseline" (no penalty), "penalty" (a pure function of outputs, labels and
        environments) or "objective" (owns variables, or needs the model).
      summary: one line for people.
      options: the options by name.
      replaces_risk: whether the value stands in for the mean risk, instead of being
        added to it.
      compares: whether it needs two environments to compare.
      tasks: the tasks that it is defined for.
    """

    kind: str
    summary: str
    options: Mapping[str, Option] = dataclasses.field(default_factory=dict)
    replaces_risk: bool = False
    compares: bool = True
    tasks: tuple[str, ...] = ("binary", "multiclass", "regression")

    @property
    def defaults(self) -> dict[str, Any]:
        """Options and their defaults."""
        return {name: option.default for name, option in self.options.items()}


def _on(default: str) -> Option:
    other = {"logits": "representations", "representations": "logits"}[default]
    return choice(default, other)


_SEED = number(0, at_least=0, whole=True)
_PERTURBATION = {
    "kind": choice("fgsm", "pgd", "gaussian"),
    "epsilon": number(0.1, at_least=0),
    "steps": number(7, at_least=1, whole=True),
    "step_size": number(None, above=0),
    "random_start": flag(False),
    "norm": choice("linf", "l2"),
    "clip": Option(
        None,
        "a list of 2 numbers, or null; the lower one comes first",
        lambda value: (
            numbers(None, size=2).accepts(value)
            and (value is None or value[0] < value[1])
        ),
    ),
}

METHODS: dict[str, MethodInfo] = {
    "adversarial": MethodInfo(
        kind="objective",
        summary="What small perturbations of the features do to the outputs "
        "(Goodfellow et al. 2015, Madry et al. 2018, Zhang et al. 2019).",
        options={
            **_PERTURBATION,
            "frozen": Option(
                (),
                "a list of names of features",
                lambda value: (
                    isinstance(value, (list, tuple))
                    and all(isinstance(name, str) for name in value)
                ),
            ),
            "discrepancy": choice("cross_entropy", "kl", "wasserstein"),
            "environments": choice("mean", "worst"),
            "seed": _SEED,
        },
        compares=False,
    ),
    "caus_irl": MethodInfo(
        kind="penalty",
        summary="Distance between two random mixtures of the environments "
        "(Chevalley et al. 2022).",
        options={
            "distance": choice("mmd", "coral"),
            "on": _on("representations"),
            "bandwidths": numbers(None, above=0),
            "seed": _SEED,
        },
    ),
    "cdann": MethodInfo(
        kind="objective",
        summary="An adversary that sees the label can't tell the environment from the "
        "representation (Li et al. 2018).",
        options={
            "hidden": numbers((64,), at_least=1, whole=True),
            "seed": _SEED,
        },
        tasks=("binary", "multiclass"),
    ),
    "coral": MethodInfo(
        kind="penalty",
        summary="Differences of means and covariances (Sun and Saenko 2016).",
        options={
            "on": _on("representations"),
            "reference": choice("pairs", "pooled"),
            "conditional": flag(False),
        },
    ),
    "dann": MethodInfo(
        kind="objective",
        summary="An adversary can't tell the environment from the representation "
        "(Ganin et al. 2016).",
        options={
            "hidden": numbers((64,), at_least=1, whole=True),
            "seed": _SEED,
        },
    ),
    "eqrm": MethodInfo(
        kind="penalty",
        summary="A quantile of the environments' risks, by a kernel density estimate "
        "(Eastwood et al. 2022).",
        options={"alpha": number(0.75, above=0, below=1)},
        replaces_risk=True,
    ),
    "erm": MethodInfo(
        kind="baseline",
        summary="Empirical risk minimisation: the mean risk and no penalty.",
        compares=False,
    ),
    "fishr": MethodInfo(
        kind="penalty",
        summary="Differences of the variances of the last layer's gradients "
        "(Rame et al. 2022).",
    ),
    "group_dro": MethodInfo(
        kind="objective",
        summary="The worst environments' risks, by weights that follow them "
        "(Sagawa et al. 2020).",
        options={
            "step_size": number(0.01, above=0),
            "adjustment": number(0.0, at_least=0),
        },
        replaces_risk=True,
    ),
    "ib_erm": MethodInfo(
        kind="penalty",
        summary="Variance of the representation, an information bottleneck "
        "(Ahuja et al. 2021).",
        options={"on": _on("representations")},
        compares=False,
    ),
    "ib_irm": MethodInfo(
        kind="penalty",
        summary="IRMv1 and an information bottleneck (Ahuja et al. 2021).",
        options={
            "on": _on("representations"),
            "bottleneck_weight": number(1.0, at_least=0),
        },
    ),
    "iga": MethodInfo(
        kind="penalty",
        summary="Variance of the environments' gradients in the last layer "
        "(Koyama and Yamaguchi 2020).",
    ),
    "irm_v1": MethodInfo(
        kind="penalty",
        summary="Squared gradient of each environment's risk in a dummy scale of the "
        "logits (Arjovsky et al. 2019).",
        options={"unbiased": flag(False)},
    ),
    "mm_rex": MethodInfo(
        kind="penalty",
        summary="The worst extrapolation of the environments' risks "
        "(Krueger et al. 2021).",
        options={"lambda_min": number(-1.0)},
        replaces_risk=True,
    ),
    "mmd": MethodInfo(
        kind="penalty",
        summary="Maximum mean discrepancy with Gaussian kernels "
        "(Gretton et al. 2012, Li et al. 2018).",
        options={
            "bandwidths": numbers(None, above=0),
            "estimator": choice("auto", "exact", "random_features"),
            "random_features": number(512, at_least=1, whole=True),
            "on": _on("representations"),
            "reference": choice("pairs", "pooled"),
            "conditional": flag(False),
            "seed": _SEED,
        },
    ),
    "moment_matching": MethodInfo(
        kind="penalty",
        summary="Differences of means, variances and higher central moments.",
        options={
            "orders": numbers((1, 2), at_least=1, whole=True),
            "on": _on("logits"),
            "reference": choice("pairs", "pooled"),
            "conditional": flag(False),
        },
    ),
    "sd": MethodInfo(
        kind="penalty",
        summary="Spectral decoupling: squared logits (Pezeshki et al. 2021).",
        compares=False,
    ),
    "v_rex": MethodInfo(
        kind="penalty",
        summary="Variance of the environments' risks (Krueger et al. 2021).",
    ),
    "wasserstein": MethodInfo(
        kind="penalty",
        summary="Optimal transport between the environments' outputs.",
        options={
            "solver": choice("exact_1d", "sliced", "sinkhorn"),
            "order": choice(1, 2),
            "on": _on("logits"),
            "reference": choice("pairs", "pooled"),
            "conditional": flag(False),
            "projections": Option(
                24,
                "a whole number, at least 1, or directions [D, P]",
                lambda value: (
                    number(64, at_least=1, whole=True).accepts(value)
                    or len(getattr(value, "shape", ())) == 2
                ),
            ),
            "epsilon": number(0.1, above=0),
            "iterations": number(40, at_least=1, whole=True),
            "tolerance": number(None, above=0),
            "max_points": number(128, at_least=2, whole=True),
            "seed": _SEED,
        },
    ),
}


def check_name(name: str) -> None:
    """Checks the name of a method.

    Raises:
      ValueError: the name is unknown. The message lists the legal names.
    """
    if name in METHODS:
        return
    close = difflib.get_close_matches(str(name), METHODS, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise ValueError(
        f"Unknown method {name!r}: the known ones are {', '.join(sorted(METHODS))}"
        f"{hint}"
    )


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Checks the options of a method.

    Raises:
      ValueError: the name or an option is unknown, or an option has an illegal value.
        The message lists the legal ones.
    """
    check_name(name)
    known = METHODS[name].options
    for option, value in options.items():
        if option not in known:
            legal = ", ".join(sorted(known)) or "none"
            raise ValueError(
                f"Method {name!r} has no option {option!r}: its options are {legal}"
            )
        if not known[option].accepts(value):
            raise ValueError(
                f"Option {option!r} of method {name!r} is {value!r}; expected "
                f"{known[option].legal}"
            )


def checked(function: Function) -> Function:
    """Lets a penalty refuse illegal options with the table's sentence.

    Its name is the function's.
    """
    name = function.__name__

    @functools.wraps(function)
    def penalty(batch: Any, **options: Any) -> Any:
        check_options(name, options)
        return function(batch, **options)

    return penalty  # type: ignore[return-value]


def tasks_of(name: str, options: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """The tasks that a method is defined for with some of its options.

    Args:
      name: in `METHODS`.
      options: those that are not its defaults.
    """
    info = METHODS[name]
    given = {**info.defaults, **(options or {})}
    not_for = set()
    if given.get("conditional"):
        not_for.add("regression")
    if given.get("solver") == "exact_1d" and given.get("on") == "logits":
        not_for.add("multiclass")  # of which the logits have more than one column
    return tuple(task for task in info.tasks if task not in not_for)


def check_methods(methods: Sequence[str | Mapping[str, Any]]) -> None:
    """Checks a list of methods as it stands in a config.

    Args:
      methods: names, or mappings with the keys name, weight (>= 0) and options.

    Raises:
      ValueError: the list is empty, names a method twice, or an entry has an unknown
        name, key or option, or an illegal weight. Unknown names list the legal ones.
    """
    if isinstance(methods, (str, Mapping)) or not methods:
        raise ValueError(
            f"The methods are {methods!r}; expected a list with at least one of "
            f"{', '.join(sorted(METHODS))}"
        )
    seen = set()
    for entry in methods:
        name = _check_entry({"name": entry} if isinstance(entry, str) else entry)
        if name in seen:
            raise ValueError(f"Method {name!r} is listed twice: list it once")
        seen.add(name)


def _check_entry(entry: Mapping[str, Any]) -> str:
    """Checks one entry of the list and returns its name."""
    unknown = sorted(set(entry) - {"name", "weight", "options"})
    if unknown or "name" not in entry:
        found = f"the key {unknown[0]!r}" if unknown else "no name"
        raise ValueError(
            f"A method has {found}; expected the keys name, weight and options"
        )
    name = entry["name"]
    check_options(name, entry.get("options") or {})
    weight = entry.get("weight")
    if weight is None:
        return name
    number = isinstance(weight, (int, float)) and not isinstance(weight, bool)
    if not number or not math.isfinite(weight) or weight < 0:
        raise ValueError(
            f"Method {name!r} has the weight {weight!r}; expected a finite number >= 0"
        )
    return name
