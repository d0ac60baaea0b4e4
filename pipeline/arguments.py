"""What the `tfx-irm` command takes: its commands, their options, their help."""

import argparse
import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from pipeline import lines

WRONG = 2
# What each is for, in a phrase.
COMMANDS = {
    "run": "run a pipeline here, from its sources to its verdict",
    "validate": "check a config and its sources; run nothing",
    "inspect": "look for what makes environments unfit; train nothing",
    "compare": "train several methods on the same data; decide nothing",
    "tune": "search hyperparameters; held-out data are never read",
    "compile": "write the pipeline as a file for Vertex AI or Kubeflow",
    "submit": "send the pipeline to Vertex AI or Kubeflow, and follow it",
    "report": "print where the report of a run is",
    "rollback": "put the last blessed version back into service",
    "monitor": "look at new data: does the served verdict still hold",
    "prune": "remove what no kept run and no blessed model needs",
}
_SUMMARY = """\
Train a model on several environments, and release it only where it is shown to
work in all of them.
"""
_EXITS = """\
exit status: 0 done, 2 the config, the arguments or the data is wrong, 3 not released
(refused by a check, or released before) or a verdict that holds no more, 130
interrupted, 1 anything else.
"""
_EXAMPLES = {
    "": """\
examples:
  tfx-irm validate examples/flights/config.yaml
  tfx-irm run examples/flights/config.yaml
  tfx-irm run examples/flights/config.yaml --method irm_v1 --set train.steps=500
  tfx-irm compare examples/flights/config.yaml --methods erm,v_rex --seeds 3
  tfx-irm report examples/flights/config.yaml --open
""",
    "run": """\
examples:
  tfx-irm run examples/flights/config.yaml
  tfx-irm run examples/flights/config.yaml --method erm
  tfx-irm run examples/flights/config.yaml --set train.steps=500 --set root=/tmp/runs
  tfx-irm run examples/flights/config.yaml --set 'train.model.hidden=[64, 32]'
  tfx-irm run examples/flights/config.yaml --set push.override=override.yaml
""",
    "validate": """\
examples:
  tfx-irm validate examples/flights/config.yaml
  tfx-irm validate examples/flights/config.yaml --method irm_v1
""",
    "inspect": """\
examples:
  tfx-irm inspect examples/flights/config.yaml
  tfx-irm inspect examples/flights/config.yaml --set inspect.tells_environment=off
  tfx-irm inspect examples/flights/config.yaml --set inspect.leak.max=0.9
""",
    "compare": """\
examples:
  tfx-irm compare examples/flights/config.yaml
  tfx-irm compare examples/flights/config.yaml --methods erm,irm_v1,v_rex --seeds 3
""",
    "tune": """\
examples:
  tfx-irm tune examples/flights/config.yaml --trials 20
  tfx-irm tune examples/flights/config.yaml --method irm_v1 --select invariance
""",
    "compile": """\
examples:
  tfx-irm compile config.yaml --output pipeline.json
  tfx-irm compile config.yaml --output pipeline.json --on kubeflow
  tfx-irm compile config.yaml --output pipeline.json --set vertex.region=us-central1
""",
    "submit": """\
examples:
  tfx-irm submit config.yaml
  tfx-irm submit config.yaml --on kubeflow --method irm_v1
  tfx-irm submit config.yaml --span 2024-03-01
  tfx-irm submit config.yaml --no-follow
  tfx-irm submit config.yaml --follow 20240301-101500-123456
""",
    "rollback": """\
examples:
  tfx-irm rollback examples/flights/config.yaml
  tfx-irm rollback examples/flights/config.yaml --to 1767225600
  tfx-irm rollback config.yaml --on vertex
""",
    "monitor": """\
examples:
  tfx-irm monitor examples/flights/config.yaml --data new/EWR.parquet --environment EWR
  tfx-irm monitor examples/flights/config.yaml --data new/2014-01-*.csv --dry-run
  tfx-irm monitor examples/flights/config.yaml --data new.parquet --rollback
""",
    "prune": """\
examples:
  tfx-irm prune examples/flights/config.yaml --dry-run
  tfx-irm prune examples/flights/config.yaml --keep 20
""",
    "report": """\
examples:
  tfx-irm report examples/flights/config.yaml
  tfx-irm report examples/flights/config.yaml --open
""",
}


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, and where help is."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}; see {self.prog} --help", file=sys.stderr)
        sys.exit(WRONG)


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        import importlib.metadata

        try:
            version = importlib.metadata.version("tfx-irm")
        except importlib.metadata.PackageNotFoundError:
            version = "not installed (run from a checkout)"
        print(f"tfx-irm {version}")
        parser.exit()


def parser(
    does: Mapping[str, Callable[[argparse.Namespace], int]],
) -> argparse.ArgumentParser:
    """The parser of all commands.

    Args:
      does: command -> what does it, and becomes `do` of the options.
    """
    made = _make(None, "tfx-irm", _SUMMARY, "")
    made.add_argument(
        "--version", action=_Version, nargs=0, help="print the version and exit"
    )
    commands = made.add_subparsers(
        title="commands", dest="command", metavar="COMMAND", parser_class=_Parser
    )
    for name, summary in COMMANDS.items():
        command = _make(commands, name, f"{summary[0].upper()}{summary[1:]}.", summary)
        command.set_defaults(do=does[name])
        command.add_argument("config", metavar="CONFIG", help="the pipeline's YAML")
        command.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            dest="sets",
            help="set a key of the config, as in train.steps=500 (repeatable)",
        )
        for add in _OPTIONS.get(name, ()):
            add(command)
        command.add_argument(
            "--log-format",
            choices=lines.FORMATS,
            default=lines.FORMATS[0],
            help="lines as text, or each as a JSON object; default: text",
        )
        command.add_argument(
            "--metrics",
            metavar="FILE",
            help="write what it came to, for dashboards (OpenMetrics)",
        )
        command.add_argument(
            "--debug", action="store_true", help="show tracebacks of errors"
        )
    return made


def _method(command: Any) -> None:
    command.add_argument(
        "--method",
        metavar="NAME",
        help="train with another method, as train.methods changes it",
    )


def _comparison(command: Any) -> None:
    command.add_argument(
        "--methods",
        metavar="A,B",
        help="methods, as train.methods changes them; default: the config's and erm",
    )
    command.add_argument(
        "--seeds",
        type=int,
        default=1,
        metavar="N",
        help="seeds of each, from train.seed on; default: 1",
    )


def _search(command: Any) -> None:
    command.add_argument(
        "--trials",
        type=int,
        metavar="N",
        help="how many models to train; default: tune.trials",
    )
    command.add_argument(
        "--select",
        metavar="RULE",
        help="training_environments, worst_training_environment,"
        " leave_one_environment_out or invariance; default: tune.select",
    )


def _target(command: Any) -> None:
    command.add_argument(
        "--on",
        choices=("vertex", "kubeflow"),
        help="where it runs; default: the one that the config has a section of",
    )


def _served_there(command: Any) -> None:
    command.add_argument(
        "--on",
        choices=("vertex", "kubeflow"),
        help="roll back what a pipeline released there; default: in push.path, here",
    )


def _sent(command: Any) -> None:
    command.add_argument(
        "--method",
        metavar="NAME",
        help="train with another method of train.methods; a parameter of the job",
    )
    command.add_argument(
        "--span",
        metavar="SPAN",
        help="the newest span to read, a number or a day; a parameter of the job",
    )
    which = command.add_mutually_exclusive_group()
    which.add_argument(
        "--no-follow", action="store_true", help="send it, and do not wait for its end"
    )
    which.add_argument(
        "--follow", metavar="RUN", help="send nothing; follow a run that was sent"
    )


def _output(command: Any) -> None:
    command.add_argument(
        "--output",
        required=True,
        metavar="FILE.json",
        help="the job: the pipeline's spec, its parameters and its root",
    )


def _which_run(command: Any) -> None:
    command.add_argument("--run", metavar="ID", help="a run; default: the last")
    command.add_argument("--open", action="store_true", help="open it in the browser")


def _version_back(command: Any) -> None:
    command.add_argument(
        "--to",
        type=int,
        metavar="VERSION",
        help="a version in push.path; default: the last blessed one before the"
        " served one",
    )


def _kept(command: Any) -> None:
    command.add_argument(
        "--keep",
        type=int,
        default=10,
        metavar="N",
        help="how many of the last runs stay, and as many comparisons, inspections and"
        " searches; default: 10",
    )
    command.add_argument(
        "--dry-run", action="store_true", help="say it, and remove nothing"
    )


def _monitored(command: Any) -> None:
    command.add_argument(
        "--data",
        nargs="+",
        required=True,
        metavar="FILE",
        help="new examples, with or without labels, in any format of the sources",
    )
    command.add_argument(
        "--environment",
        metavar="NAME",
        help="of all rows; default: as the config's environment_column tells, or else"
        " a column `environment`",
    )
    command.add_argument(
        "--rollback",
        action="store_true",
        help="where it holds no more, put the last blessed version back",
    )
    command.add_argument(
        "--dry-run", action="store_true", help="say it, and keep nothing of it"
    )


# Command -> what adds the options that not all commands have.
_OPTIONS: dict[str, tuple[Callable[[Any], None], ...]] = {
    "run": (_method,),
    "validate": (_method,),
    "compare": (_comparison,),
    "tune": (_method, _search),
    "compile": (_output, _target, _method),
    "submit": (_target, _sent),
    "report": (_which_run,),
    "rollback": (_version_back, _served_there),
    "monitor": (_monitored,),
    "prune": (_kept,),
}


def _make(commands: Any, name: str, description: str, summary: str) -> Any:
    settings: dict[str, Any] = {
        "description": description,
        "epilog": f"{_EXAMPLES['' if commands is None else name]}\n{_EXITS}",
        "formatter_class": argparse.RawDescriptionHelpFormatter,
        "allow_abbrev": False,
    }
    if commands is None:
        return _Parser(prog=name, **settings)
    return commands.add_parser(name, help=summary, **settings)
