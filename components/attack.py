"""Attacks on a model that a check may ask for: what they are called, what is legal.

    {attack: fgsm, epsilon: 0.1}
    {attack: pgd, epsilon: 0.5, norm: l2, steps: 20, frozen: [numeric_age]}

InvarianceValidator asks for them, and Evaluator runs them. An attack's name says all
of it, so a result of another attack can't be taken for this one's. Imports neither
TFX nor NumPy.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

KINDS = ("fgsm", "pgd")
NORMS = ("linf", "l2")
PGD_ALONE = ("steps", "step_size")
_STEPS = 10


@dataclass(frozen=True)
class Attack:
    """A search for the largest loss near the features of an example.

    * fgsm: one step of length epsilon.
    * pgd: `steps` steps of `step_size`, each brought back into the ball.

    Attributes:
      epsilon: how far features move, in the units of transformed features (of a
        numeric one standard deviations of training).
      attack: of `KINDS`.
      norm: linf, where each number moves by epsilon at most; or l2, where all numbers
        of an example together do.
      steps: of pgd.
      step_size: of pgd; None is 2.5 epsilon / steps.
      clip: lowest and highest value of what moves, or None. A clean value outside of
        it moves no farther away.
      frozen: transformed features that stay, besides those that never move.

    References:
      Goodfellow et al. 2015, Explaining and Harnessing Adversarial Examples, section 4
      (fgsm). Madry et al. 2018, Towards Deep Learning Models Resistant to Adversarial
      Attacks, section 2.1 (pgd).
    """

    epsilon: float
    attack: str = "fgsm"
    norm: str = "linf"
    steps: int = 1
    step_size: float | None = None
    clip: tuple[float, float] | None = None
    frozen: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """All that it is: `fgsm-linf-0.1`, `pgd-l2-0.5-20x0.1-0to1`."""
        parts = [self.attack, self.norm, _text(self.epsilon)]
        if self.attack == "pgd":
            length = "" if self.step_size is None else f"x{_text(self.step_size)}"
            parts.append(f"{self.steps}{length}")
        if self.clip is not None:
            parts.append("to".join(map(_text, self.clip)))
        if self.frozen:
            parts.append(f"frozen {','.join(self.frozen)}")
        return "-".join(parts)

    @property
    def model(self) -> str:
        """The name under which the Evaluator measures the attacked candidate."""
        return f"candidate under {self.name}"

    @property
    def length(self) -> float:
        """Of a step."""
        if self.step_size is not None:
            return self.step_size
        return self.epsilon * (2.5 / self.steps if self.attack == "pgd" else 1.0)

    def to_dict(self) -> dict[str, Any]:
        """For JSON; `parse` reads it."""
        found = {key: value for key, value in asdict(self).items() if value}
        if self.attack != "pgd":
            del found["steps"]
        return {k: list(v) if isinstance(v, tuple) else v for k, v in found.items()}


KEYS = ("attack", "epsilon", "norm", *PGD_ALONE, "clip", "frozen")


def parse(leaf: Mapping[str, Any]) -> Attack:
    """The attack of a leaf that has no problem; what else the leaf holds is not read.

    The same attack comes out the same, whether its defaults are written or not.
    """
    kind = leaf.get("attack") or "fgsm"
    steps = 1 if kind == "fgsm" else leaf.get("steps") or _STEPS
    made = Attack(
        epsilon=float(leaf["epsilon"]),
        attack=kind,
        norm=leaf.get("norm") or "linf",
        steps=int(steps),
        clip=None if leaf.get("clip") is None else _pair(leaf["clip"]),
        frozen=tuple(sorted(leaf.get("frozen") or ())),
    )
    size = leaf.get("step_size")
    if size is None or math.isclose(size, made.length):
        return made
    return replace(made, step_size=float(size))


def problems(leaf: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(key, what is wrong with it) of a leaf's attack; the leaf's other keys aside."""
    kind, norm = leaf.get("attack") or "fgsm", leaf.get("norm") or "linf"
    if kind not in KINDS:
        yield "attack", f"is {kind!r}; it must be {' or '.join(KINDS)}"
    if norm not in NORMS:
        yield "norm", f"is {norm!r}; it must be {' or '.join(NORMS)}"
    epsilon = leaf.get("epsilon")
    if epsilon is None:
        yield (
            "epsilon",
            "is missing; say how far features may move, in units of transformed"
            " features, such as 0.1",
        )
    elif not (_is_number(epsilon) and epsilon > 0):
        yield "epsilon", f"is {epsilon!r}; it must be a number above 0"
    for key in PGD_ALONE:
        if leaf.get(key) is not None and kind == "fgsm":
            yield key, "is of pgd, but the attack is fgsm; write attack: pgd"
    steps, size, clip = leaf.get("steps"), leaf.get("step_size"), leaf.get("clip")
    if steps is not None and not (type(steps) is int and steps >= 1):
        yield "steps", f"is {steps!r}; it must be a whole number from 1 on"
    if size is not None and not (_is_number(size) and size > 0):
        yield "step_size", f"is {size!r}; it must be a number above 0"
    if clip is not None and not _is_range(clip):
        shown = list(clip) if isinstance(clip, tuple) else clip
        yield "clip", f"is {shown!r}; it must be the lowest and the highest value"
    frozen = leaf.get("frozen")
    if frozen is not None and not _is_names(frozen):
        yield "frozen", f"is {frozen!r}; it must be a list of transformed features"


def _text(number: float) -> str:
    return repr(float(number)).removesuffix(".0")


def _pair(values: Sequence[float]) -> tuple[float, float]:
    low, high = values
    return float(low), float(high)


def _is_number(value: Any) -> bool:
    real = isinstance(value, int | float) and not isinstance(value, bool)
    return real and math.isfinite(value)


def _is_range(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(map(_is_number, value))
        and value[0] < value[1]
    )


def _is_names(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and all(isinstance(name, str) and name for name in value)
        and len(set(value)) == len(value)
    )
