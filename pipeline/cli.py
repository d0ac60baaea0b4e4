"""The `tfx-irm` command.

Nothing heavy is imported before the config is judged: a wrong one is answered in a
fraction of a second.
"""

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

from components.errors import DataError
from pipeline import lines
from pipeline.errors import ConfigError

DONE, FAILED, WRONG, REFUSED, INTERRUPTED = 0, 1, 2, 3, 130

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
    "rollback": """\
examples:
  tfx-irm rollback examples/flights/config.yaml
  tfx-irm rollback examples/flights/config.yaml --to 1767225600
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status.

    Args:
      arguments: without the program's name; default: the process's.
    """
    parser = _parser()
    try:
        options = parser.parse_args(arguments)
    except SystemExit as end:  # after --help, --version or a wrong argument
        return end.code if isinstance(end.code, int) else WRONG
    if options.command is None:
        parser.print_help(sys.stderr)
        return WRONG
    lines.choose(options.log_format)
    if options.metrics is None:
        return _answered(options)
    return _measured(options)


def _measured(options: argparse.Namespace) -> int:
    """The same, and what it came to goes to the file of `--metrics`."""
    from pipeline import metrics_file

    try:
        metrics_file.check(options.metrics)
    except ConfigError as error:
        return _failed(options, WRONG, str(error))
    began = time.monotonic()
    status = _answered(options)
    path = getattr(options, "summary", None)
    summary = None
    if path is not None:
        with open(path, encoding="utf-8") as file:
            summary = json.load(file)
    try:
        metrics_file.write(
            options.metrics,
            options.command,
            status,
            time.monotonic() - began,
            summary,
            getattr(options, "name", ""),
            getattr(options, "monitored", None),
        )
    except OSError as error:
        return _failed(options, FAILED, f"--metrics: {error}; name another file")
    return status


def _answered(options: argparse.Namespace) -> int:
    """Does what was asked; the exit status."""
    try:
        status: int = options.do(options)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return _failed(options, INTERRUPTED, "interrupted")
    except (ConfigError, DataError) as error:
        return _failed(options, WRONG, str(error))
    except BrokenPipeError:
        # Whoever read the output has gone; keep the interpreter's last flush quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        said = " ".join(str(error).split())[:400]
        text = f"{type(error).__name__}: {said}" if said else type(error).__name__
        mend = "" if options.debug else "; --debug shows the traceback"
        return _failed(options, FAILED, f"{text}{mend}")


def _failed(options: argparse.Namespace, status: int, text: str) -> int:
    if options.debug:
        traceback.print_exc()
    lines.tell_error(text, status)
    return status


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        import importlib.metadata

        try:
            version = importlib.metadata.version("tfx-irm")
        except importlib.metadata.PackageNotFoundError:
            version = "not installed (run from a checkout)"
        print(f"tfx-irm {version}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = _make(None, "tfx-irm", _SUMMARY, "")
    parser.add_argument(
        "--version", action=_Version, nargs=0, help="print the version and exit"
    )
    commands = parser.add_subparsers(
        title="commands", dest="command", metavar="COMMAND", parser_class=_Parser
    )
    for name, do, summary in (
        ("run", _run, "run a pipeline here, from its sources to its verdict"),
        ("validate", _validate, "check a config and its sources; run nothing"),
        ("inspect", _inspect, "look for what makes environments unfit; train nothing"),
        ("compare", _compare, "train several methods on the same data; decide nothing"),
        ("tune", _tune, "search hyperparameters; held-out data are never read"),
        ("report", _report, "print where the report of a run is"),
        ("rollback", _rollback, "put the last blessed version back into service"),
        ("monitor", _monitor, "look at new data: does the served verdict still hold"),
        ("prune", _prune, "remove what no kept run and no blessed model needs"),
    ):
        command = _make(commands, name, f"{summary[0].upper()}{summary[1:]}.", summary)
        command.set_defaults(do=do)
        command.add_argument("config", metavar="CONFIG", help="the pipeline's YAML")
        command.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            dest="sets",
            help="set a key of the config, as in train.steps=500 (repeatable)",
        )
        if name == "compare":
            command.add_argument(
                "--methods",
                metavar="A,B",
                help="methods, as train.methods changes them; default: the config's"
                " and erm",
            )
            command.add_argument(
                "--seeds",
                type=int,
                default=1,
                metavar="N",
                help="seeds of each, from train.seed on; default: 1",
            )
        elif name == "rollback":
            command.add_argument(
                "--to",
                type=int,
                metavar="VERSION",
                help="a version in push.path; default: the last blessed one before the"
                " served one",
            )
        elif name == "monitor":
            _add_monitor(command)
        elif name == "prune":
            command.add_argument(
                "--keep",
                type=int,
                default=10,
                metavar="N",
                help="how many of the last runs stay, and as many comparisons,"
                " inspections and searches; default: 10",
            )
            command.add_argument(
                "--dry-run", action="store_true", help="say it, and remove nothing"
            )
        elif name not in ("report", "inspect"):
            command.add_argument(
                "--method",
                metavar="NAME",
                help="train with another method, as train.methods changes it",
            )
            if name == "tune":
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
        elif name == "report":
            command.add_argument("--run", metavar="ID", help="a run; default: the last")
            command.add_argument(
                "--open", action="store_true", help="open it in the browser"
            )
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
    return parser


def _add_monitor(command: Any) -> None:
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


def _load(options: argparse.Namespace) -> Any:
    from pipeline.config_io import load_config

    method = getattr(options, "method", None)
    return load_config(options.config, sets=options.sets, method=method)


def _validate(options: argparse.Namespace) -> int:
    config = _load(options)
    from pipeline import override, sources_check

    given = override.read(config)
    findings = sources_check.check(config)
    for line in sources_check.describe(config, findings):
        lines.tell(line)
    if given is not None:
        lines.tell(f"  override    {override.told(given)}")
    return DONE


def _prepare(config: Any) -> Any:
    """Checks the sources before anything runs, and makes the user's code importable."""
    from pipeline import sources_check

    findings = sources_check.check(config)
    if config.train.model.build:
        sys.path.append(config.folder)  # the user's model lies beside the config
    return findings


def _run(options: argparse.Namespace) -> int:
    config = _load(options)
    from pipeline import override, runs

    override.read(config)
    findings = _prepare(config)

    if config.data.each:
        from pipeline import folds

        result = folds.run(config, findings.environments, debug=options.debug)
    else:
        from pipeline import local_runner

        result = local_runner.run(config, debug=options.debug)
        options.summary, options.name = result.summary_path, config.name
    sentence = runs.error_of(result.summary_path)
    if sentence:
        lines.tell_error(sentence, result.exit_code)
    return result.exit_code


def _inspect(options: argparse.Namespace) -> int:
    config = _load(options)
    _not_each(config, "inspect", "compares")
    _prepare(config)
    from pipeline import inspection

    errors = inspection.inspect(config, debug=options.debug)
    if not errors:
        return DONE
    raise ConfigError(
        f"{errors} of the findings {'is an error' if errors == 1 else 'are errors'}, so"
        " tfx-irm run would stop there; mend the data, or change a level in `inspect`"
    )


def _not_each(config: Any, command: str, does: str = "trains on") -> None:
    """Refuses what looks at one set of training environments."""
    if config.data.each:
        key = ".".join(("data", *config.data.each_key))
        mend = f"--set {key}=NAME"
        if config.data.environment_column is None:
            mend = f"--set {key}= --set data.environments.NAME.held_out=true"
        raise ConfigError(
            f"{config.place('data', *config.data.each_key)} is each, and tfx-irm"
            f" {command} {does} the same environments throughout; name the one to"
            f" hold out: {mend}"
        )


def _compare(options: argparse.Namespace) -> int:
    from pipeline import compare

    methods = None if options.methods is None else options.methods.split(",")
    found = compare.candidates(options.config, methods, options.seeds, options.sets)
    _not_each(found[0].config, "compare")
    for candidate in {c.method: c for c in found}.values():
        _prepare(candidate.config)
    _, status = compare.compare(found, debug=options.debug)
    return status


def _tune(options: argparse.Namespace) -> int:
    for key in ("trials", "select"):
        value = getattr(options, key)
        if value is not None:
            options.sets.append(f"tune.{key}={value}")
    config = _load(options)
    _not_each(config, "tune")
    _prepare(config)
    from pipeline import tune

    return tune.tune(config, debug=options.debug)


def _rollback(options: argparse.Namespace) -> int:
    config = _load(options)
    from components.pusher import rollback

    done = rollback.roll_back(config.push.path, options.to)
    lines.tell(f"replaced {done.replaced.path}")
    lines.tell(f"         {done.digest} is not pushed again")
    lines.tell(f"serving  {done.served.path}, as version {done.restored.number} was")
    return DONE


def _monitor(options: argparse.Namespace) -> int:
    config = _load(options)
    from pipeline import monitoring

    asked = monitoring.Asked(
        options.data, options.environment, options.rollback, options.dry_run
    )
    options.monitored = monitoring.monitor(config, asked)
    options.name = config.name
    return DONE if options.monitored["verdict"] == "HOLDS" else REFUSED


def _prune(options: argparse.Namespace) -> int:
    config = _load(options)
    from pipeline import pruning

    for line in pruning.prune(config, options.keep, options.dry_run):
        lines.tell(line)
    return DONE


def _report(options: argparse.Namespace) -> int:
    config = _load(options)
    from pipeline import runs

    path = runs.report_path(config.root, options.run)
    lines.tell(path)
    if options.open:
        import pathlib
        import webbrowser

        if not webbrowser.open(pathlib.Path(path).as_uri()):
            raise ConfigError(f"--open: no browser was found; open {path} yourself")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
