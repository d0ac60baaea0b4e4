"""Rules on how a feature is distributed: missing, categories, range, unit, distance."""

import itertools
from collections.abc import Callable

import numpy as np

from components.environment_validator import comparing, units
from components.environment_validator.checks import ERROR, WARN
from components.environment_validator.evidence import Evidence, missing_rates
from components.environment_validator.findings import Asked, named, percent
from components.environment_validator.sampled import CATEGORY, NUMBER, Feature

_VARIES = 0.5  # a number of which no value has a larger share varies
_WIDTHS = 3.0  # so far beyond the others' range is far beyond it


def judge(evidence: Evidence, asked: Asked, candidates: tuple[str, ...]) -> None:
    """Everything that is seen in one feature without the label."""
    _missing(evidence, asked, candidates)
    names = evidence.sampled.environments
    if len(names) < 2:
        return
    comparisons = {c.feature: c for c in evidence.comparisons}
    for feature in evidence.sampled.features:
        compared = comparisons[feature.name]
        if feature.kind == CATEGORY:
            _categories(feature, names, asked)
            _distance(compared, names, "category_distance", asked)
            continue
        # One defect is named once, by the first that explains it.
        explained = (
            _constant(feature, names, asked)
            or _unit(feature, names, asked)
            or _range(feature, names, asked)
            or _sentinel(feature, names, asked)
            or _offset(feature, names, asked)
        )
        if not explained:
            _distance(compared, names, "number_distance", asked)


def tells_environment(evidence: Evidence, asked: Asked) -> None:
    """Features that alone give an environment away."""
    names = evidence.sampled.environments
    for compared in evidence.comparisons:
        if np.isnan(compared.tells).all():
            continue
        sizes = [len(labels) for labels in evidence.sampled.labels]
        lower = [
            a - 2 * comparing.standard_error(a, n, min(sizes))
            for a, n in zip(compared.tells, sizes, strict=True)
        ]
        told = [i for i, a in enumerate(lower) if a >= asked.bound("tells_environment")]
        if told:
            best = max(compared.tells[i] for i in told)
            which = (
                "the environments apart"
                if len(told) == len(names)
                else f"{named([names[i] for i in told])} from the rest"
            )
            asked.add(
                "tells_environment",
                [names[i] for i in told],
                best,
                f"{compared.feature} alone tells {which} (AUC {best:.3f}), so a model"
                " can learn each environment by itself; exclude it (data.exclude)"
                " unless it means the same everywhere",
                feature=compared.feature,
            )


def _missing(evidence: Evidence, asked: Asked, candidates: tuple[str, ...]) -> None:
    profiles = evidence.compared
    if len(profiles) < 2:
        return
    for name, rates in sorted(missing_rates(profiles).items()):
        if name not in candidates:
            continue
        low, high = int(np.argmin(rates)), int(np.argmax(rates))
        apart = rates[high] - rates[low]
        if apart > asked.bound("missing_rate"):
            most, least = profiles[high].environment, profiles[low].environment
            asked.add(
                "missing_rate",
                [most, least],
                apart,
                f"{name} is missing in {percent(rates[high])} of {most} and"
                f" {percent(rates[low])} of {least}; fill it at the source, or exclude"
                " it (data.exclude): a model would learn who records it",
                feature=name,
            )


def _categories(feature: Feature, names: tuple[str, ...], asked: Asked) -> None:
    counts = comparing.shares(feature)
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    least = asked.bound("categories")
    for e, name in enumerate(names):
        if not totals[e]:
            continue
        rest = np.delete(shares, e, axis=0)[np.delete(totals, e, axis=0)[:, 0] > 0]
        if not len(rest):
            continue
        gone = np.flatnonzero((counts[e] == 0) & (rest.min(axis=0) >= least))
        new = np.flatnonzero((shares[e] >= least) & (rest.max(axis=0) == 0))
        for which, sentence, figure in (
            (gone, "is in every other environment", rest.min(axis=0)),
            (new, "is in no other environment", shares[e]),
        ):
            for k in which[np.argsort(-figure[which])][:3]:
                text = feature.categories[k] or "''"
                there = f"{percent(figure[k])} of"
                where = (
                    f"of which {name} has none and the others have at least"
                    f" {percent(figure[k])}"
                    if which is gone
                    else f"which makes {there} {name} and {sentence}"
                )
                asked.add(
                    "categories",
                    [name],
                    figure[k],
                    f"{feature.name} has a value {text}, {where}; check for another"
                    " spelling or a lost source",
                    feature=feature.name,
                )


def _constant(feature: Feature, names: tuple[str, ...], asked: Asked) -> bool:
    """A stuck sensor: one value here, many elsewhere."""
    most = [_most_common(v) for v in feature.values]
    stuck = [i for i, (_, share) in enumerate(most) if share > asked.bound("constant")]
    rest = [share for i, (_, share) in enumerate(most) if i not in stuck]
    if not stuck or not rest or max(rest) > _VARIES:
        return False
    for i in stuck:
        asked.add(
            "constant",
            [names[i]],
            most[i][1],
            f"{feature.name} is {most[i][0]:g} in {percent(most[i][1])} of {names[i]}"
            " and varies in the other environments; look for a stuck sensor or a"
            " default that was filled in",
            feature=feature.name,
        )
    return True


def _most_common(values: np.ndarray) -> tuple[float, float]:
    """The value that is there most often, and its share; (nan, 0) for none."""
    found, counts = np.unique(values[~np.isnan(values)], return_counts=True)
    if not len(found):
        return float("nan"), 0.0
    top = int(np.argmax(counts))
    return float(found[top]), float(counts[top] / counts.sum())


def _sentinel(feature: Feature, names: tuple[str, ...], asked: Asked) -> bool:
    found = False
    values = [v[~np.isnan(v)] for v in feature.values]
    for e, name in enumerate(names):
        rest = [v for i, v in enumerate(values) if i != e and len(v)]
        if not len(values[e]) or not rest:
            continue
        low, high = min(v.min() for v in rest), max(v.max() for v in rest)
        width = (high - low) * _WIDTHS
        if width <= 0:
            continue
        for value in (values[e].min(), values[e].max()):
            share = float((values[e] == value).mean())
            beyond = value < low - width or value > high + width
            if beyond and asked.bound("sentinel") < share < 1:
                found = True
                asked.add(
                    "sentinel",
                    [name],
                    share,
                    f"{feature.name} is {value:g} in {percent(share)} of {name}, and"
                    f" from {low:g} to {high:g} in the other environments; if it stands"
                    " for a missing value, make it one at the source",
                    feature=feature.name,
                )
    return found


def _unit(feature: Feature, names: tuple[str, ...], asked: Asked) -> bool:
    return _converted(
        "unit",
        units.find,
        feature,
        names,
        asked,
        lambda one, first: (
            f"in another unit: converted from {one.name}, {first}",
            "use one unit at the source",
        ),
    )


def _offset(feature: Feature, names: tuple[str, ...], asked: Asked) -> bool:
    return _converted(
        "offset",
        units.find_offset,
        feature,
        names,
        asked,
        lambda one, first: (
            f"moved by a constant: with {one.offset:+.4g}, {first}",
            "check clocks, time zones and calibration",
        ),
    )


def _converted(
    check: str,
    find: Callable[[np.ndarray, np.ndarray, float], units.Conversion | None],
    feature: Feature,
    names: tuple[str, ...],
    asked: Asked,
    told: Callable[[units.Conversion, str], tuple[str, str]],
) -> bool:
    """Environments of which one is another's converted."""
    if not asked.on(check):
        return False
    grid = [units.quantiles(v) for v in feature.values]
    found: dict[tuple[int, int], units.Conversion] = {}
    for i, j in itertools.combinations(range(len(names)), 2):
        conversion = find(grid[i], grid[j], asked.bound(check))
        if conversion is not None:
            found[i, j] = conversion
    if not found:
        return False
    odd, others = units.odd_ones(list(found), grid)
    pair = max((p for p in found if set(p) & set(odd)), key=lambda p: found[p].before)
    one = found[pair]
    how, mend = told(one, names[pair[0]])
    asked.add(
        check,
        [names[i] for i in (*odd, *others)],
        one.before,
        f"{feature.name} in {named([names[i] for i in odd])} looks like"
        f" {named([names[i] for i in others])} {how} comes to {one.after:.2f} pooled"
        f" deviations of {names[pair[1]]}, from {one.before:.2f}; {mend}",
        feature=feature.name,
        # Other seasons, or other patients, may look like a conversion by chance.
        at_most=WARN if check == "unit" and not one.is_clear else ERROR,
    )
    return True


def _range(feature: Feature, names: tuple[str, ...], asked: Asked) -> bool:
    ranges = [
        np.quantile(v[~np.isnan(v)], [0.01, 0.99]) if not np.isnan(v).all() else None
        for v in feature.values
    ]
    for i, j in itertools.combinations(range(len(names)), 2):
        a, b = ranges[i], ranges[j]
        if a is None or b is None:
            continue
        shared = min(a[1], b[1]) - max(a[0], b[0])
        shorter = min(a[1] - a[0], b[1] - b[0])
        overlap = shared / shorter if shorter > 0 else float(shared >= 0)
        if overlap < asked.bound("range"):
            asked.add(
                "range",
                [names[i], names[j]],
                max(overlap, 0.0),
                f"{feature.name} lies from {a[0]:.4g} to {a[1]:.4g} in {names[i]} and"
                f" from {b[0]:.4g} to {b[1]:.4g} in {names[j]} (98 % of the values);"
                " check that both mean the same, or exclude it (data.exclude)",
                feature=feature.name,
            )
            return True
    return False


def _distance(
    compared: comparing.Comparison, names: tuple[str, ...], check: str, asked: Asked
) -> None:
    distances = np.nan_to_num(compared.distances, nan=0.0)
    i, j = np.unravel_index(np.argmax(distances), distances.shape)
    value = float(distances[i, j])
    if value > asked.bound(check):
        what = (
            f"{value:.2f} pooled deviations apart (Wasserstein-1)"
            if compared.kind == NUMBER
            else f"{value:.2f} apart (Jensen-Shannon divergence, at most 1)"
        )
        asked.add(
            check,
            [names[i], names[j]],
            value,
            f"{compared.feature} of {names[i]} and {names[j]} is {what}; what is"
            " learned of it in one may not be seen in the other",
            feature=compared.feature,
        )
