"""A model card from a decision: JSON in Model Card Toolkit's fields, and Markdown.

References:
  Mitchell et al. 2019, Model Cards for Model Reporting; Model Card Toolkit, schema
  0.0.2.
"""

import datetime
import html
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from components import pages

JSON_FILE = "model_card.json"
MARKDOWN_FILE = "model_card.md"
SCHEMA_VERSION = "0.0.2"
_TEMPLATE = "card.md.j2"
_SPECIAL = re.compile(r"([\\`*\[\]#|~])")
_OUTPUTS = {
    "binary": "`logits` [N, 1] and `probabilities` [N, 1] of the label being 1",
    "multiclass": "`logits` and `probabilities` [N, K], a column for each class",
    "regression": "`predictions` [N, 1], in the label's unit",
}
_INPUTS = (
    "Signature `serving_default`: serialized tf.Examples [N]. `raw`: a tensor [N, 1]"
    " for each column, named in assets.extra/raw_columns.json. `transformed`: the"
    " transformed features."
)
# Metrics of every environment that a card shows where a check says nothing of them.
_SHOWN = (
    "auc",
    "accuracy",
    "log_loss",
    "calibration_slope",
    "mean_squared_error",
    "mean_absolute_error",
    "r_squared",
)


def make(record: Mapping[str, Any], digest: str | None = None) -> dict[str, Any]:
    """The card of a decision.

    Args:
      record: content of `decision.json`; its `context` may hold `card`, what the
        config says of the model, by the names of the fields.
      digest: of the model, its version's name.

    Returns:
      Fields of Model Card Toolkit's schema; those without content are left out.
    """
    context = record["context"]
    said = {key: value for key, value in (context.get("card") or {}).items() if value}
    details = {
        "name": context.get("name") or "model",
        "overview": said.get("overview") or _overview(record),
        "documentation": _documentation(record),
        "owners": said.get("owners"),
        "version": _filled({"name": digest, "date": datetime.date.today().isoformat()}),
        "licenses": [_license(text) for text in said.get("licenses", ())],
        "references": [{"reference": text} for text in said.get("references", ())],
        "citations": [{"citation": text} for text in said.get("citations", ())],
    }
    task = context.get("task", "binary")
    parameters = {
        "model_architecture": context.get("architecture"),
        "data": list(_data(record, said.get("sensitive_data", ()))),
        "input_format": _INPUTS,
        "output_format": _OUTPUTS.get(task),
    }
    considerations: dict[str, Any] = {
        key: [{"description": text} for text in said.get(key, ())]
        for key in ("users", "use_cases", "tradeoffs")
    }
    considerations["limitations"] = [
        {"description": text}
        for text in (*said.get("limitations", ()), *_limitations(record))
    ]
    considerations["ethical_considerations"] = said.get("ethical_considerations")
    return {
        "schema_version": SCHEMA_VERSION,
        "model_details": _filled(details),
        "model_parameters": _filled(parameters),
        "quantitative_analysis": _filled({"performance_metrics": _metrics(record)}),
        "considerations": _filled(considerations),
    }


def overridden(
    card: Mapping[str, Any], override: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The card with what released a model that no verdict did; first of all limits."""
    if override is None:
        return dict(card)
    text = (
        "Not released by its verdict: overridden by"
        f" {override['who']} until {override['expires']}, because {override['why']}"
    )
    considerations = dict(card.get("considerations") or {})
    limits = [{"description": text}, *considerations.get("limitations", ())]
    return {**card, "considerations": {**considerations, "limitations": limits}}


def markdown(card: Mapping[str, Any]) -> str:
    """The card as Markdown; all that comes from data or config is text in it."""
    environment = pages.environment(os.path.dirname(os.path.abspath(__file__)))
    environment.autoescape = False  # the filter does it, and for Markdown
    environment.filters["text"] = plain
    environment.filters["number"] = _number
    return environment.get_template(_TEMPLATE).render(
        details=card["model_details"],
        parameters=card["model_parameters"],
        metrics=card["quantitative_analysis"].get("performance_metrics", []),
        considerations=card["considerations"],
    )


def plain(text: Any) -> str:
    """Text that Markdown and HTML in it show as it is, on one line."""
    line = " ".join(pages.printable(str(text)).split())
    return _SPECIAL.sub(r"\\\1", html.escape(line, quote=False))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _filled(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value not in (None, [], {})}


def _license(text: str) -> dict[str, str]:
    """An SPDX identifier has no space; anything else is a text of its own."""
    return {"custom_text" if " " in text else "identifier": text}


def _overview(record: Mapping[str, Any]) -> str:
    context = record["context"]
    kind = {"multiclass": "Classifier", "regression": "Regression"}
    made = kind.get(context.get("task", "binary"), "Binary classifier")
    text = f"{made} of {context.get('label') or 'the label'}"
    if context.get("method"):
        text += f", trained with {context['method']}"
    if context.get("environments"):
        text += f" on {_listed(context['environments'])}"
    if context.get("held_out"):
        text += f"; never trained on {_listed(context['held_out'])}"
    return f"{text}."


def _listed(names: Any) -> str:
    names = [str(name) for name in names]
    if len(names) > 10:
        names = [*names[:10], f"{len(names) - 10} more"]
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _documentation(record: Mapping[str, Any]) -> str:
    sentences = [f"Verdict: {record['verdict']}."]
    for check in record["checks"]:
        reason = check["reason"].rstrip(".")
        sentences.append(f"{check['name']}: {check['verdict']}; {reason}.")
    return " ".join(sentences)


def _data(record: Mapping[str, Any], sensitive: Any) -> Iterator[dict[str, Any]]:
    held_out = set(record["context"].get("held_out") or ())
    for name, splits in record["environments"].items():
        sizes = ", ".join(f"{n:,} in {split}" for split, n in sorted(splits.items()))
        use = "held out: evaluated, never trained on"
        if name not in held_out:
            use = "training environment"
        entry: dict[str, Any] = {"name": name, "description": f"{use}; {sizes}"}
        if sensitive:
            entry["sensitive"] = {"sensitive_data": list(sensitive)}
        yield entry


def _metrics(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the checks judged, with interval and bound; then every environment."""
    found: list[dict[str, Any]] = []
    for check in record["checks"]:
        if check.get("value") is None:
            continue
        entry = {
            "type": check["name"],
            "value": check["value"],
            "slice": f"{check.get('split') or ''} {check.get('slice') or ''}".strip(),
            "threshold": check.get("bound"),
        }
        ends = check.get("interval")
        if ends and None not in ends:
            entry["confidence_interval"] = {
                "lower_bound": ends[0],
                "upper_bound": ends[1],
            }
        found.append(_filled(entry))
    for split, slices in record["metrics"].items():
        for name, values in slices.items():
            if name != "overall" and not re.fullmatch("environment=[^,]*", name):
                continue
            found += [
                {"type": metric, "value": values[metric], "slice": f"{split} {name}"}
                for metric in _SHOWN
                if values.get(metric) is not None
            ]
    return found


def _limitations(record: Mapping[str, Any]) -> Iterator[str]:
    """What the run itself shows of them."""
    seen = sorted(record["environments"])
    yield (
        f"Evaluated on {_listed(seen)} alone; nothing is known of other environments."
    )
    for check in record["checks"]:
        if check["verdict"] != "PASS":
            yield (
                f"{check['name']} is {check['verdict']}: {check['reason'].rstrip('.')}."
            )
    pooled = {
        (feature, value)
        for features in record["pooled"].values()
        for feature, values in features.items()
        for value, _ in values
    }
    if pooled:
        groups = "1 group" if len(pooled) == 1 else f"{len(pooled)} groups"
        yield (
            f"{groups} had fewer than {record['min_examples']} examples,"
            " to be judged together or not at all:"
            f" {_listed([f'{f}={v}' for f, v in sorted(pooled, key=str)])}."
        )
    yield from record.get("notes") or ()
