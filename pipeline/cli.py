"""The `tfx-irm` command.

Nothing heavy is imported before the config is judged: a wrong one is answered in a
fraction of a second.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

from components.cloud import CloudError
from components.errors import DataError
from pipeline import arguments, lines
from pipeline.errors import ConfigError

DONE, FAILED, WRONG, REFUSED, INTERRUPTED = 0, 1, arguments.WRONG, 3, 130


def main(words: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status.

    Args:
      words: without the program's name; default: the process's.
    """
    parser = _parser()
    try:
        options = parser.parse_args(words)
    except SystemExit as end:  # after --help, --version or a wrong argument
        return end.code if isinstance(end.code, int) else WRONG
    if options.command is None:
        parser.print_help(sys.stderr)
        return WRONG
    lines.choose(options.log_format)
    if options.metrics is None:
        return _answered(options)
    return _measured(options)


def _parser() -> argparse.ArgumentParser:
    return arguments.parser(
        {
            "run": _run,
            "validate": _validate,
            "inspect": _inspect,
            "compare": _compare,
            "tune": _tune,
            "compile": _compile,
            "submit": _submit,
            "report": _report,
            "rollback": _rollback,
            "monitor": _monitor,
            "prune": _prune,
        }
    )


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
    except CloudError as error:
        return _failed(options, FAILED, str(error))
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


def _load(options: argparse.Namespace) -> Any:
    from pipeline.config_io import load_config

    method = getattr(options, "method", None)
    return load_config(options.config, sets=options.sets, method=method)


def _validate(options: argparse.Namespace) -> int:
    config = _load(options)
    from pipeline import override, sources_check, store

    given = override.read(config)
    store.check(config)
    findings = sources_check.check(config)
    for line in sources_check.describe(config, findings):
        lines.tell(line)
    if given is not None:
        lines.tell(f"  override    {override.told(given)}")
    return DONE


def _prepare(config: Any) -> Any:
    """Checks the sources before anything runs, and makes the user's code importable."""
    from pipeline import sources_check, store

    findings = sources_check.check(config)
    store.check(config)
    _importable(config)
    return findings


def _importable(config: Any) -> None:
    """The user's model lies beside the config; its code is part of the cache key."""
    if config.train.model.build:
        sys.path.append(config.folder)


def _run(options: argparse.Namespace) -> int:
    config = _load(options)
    from pipeline import endpoints, override

    endpoints.refuse_elsewhere(config, "run")
    override.read(config)
    findings = _prepare(config)

    if config.data.each:
        from pipeline import folds

        result = folds.run(config, findings.environments, debug=options.debug)
    else:
        from pipeline import local_runner

        result = local_runner.run(config, debug=options.debug)
        return _ended(options, config, result)
    return _told(result)


def _ended(options: argparse.Namespace, config: Any, result: Any) -> int:
    """Notes for `--metrics` what a run came to, and tells its error."""
    options.summary, options.name = result.summary_path, config.name
    return _told(result)


def _told(result: Any) -> int:
    from pipeline import runs

    sentence = runs.error_of(result.summary_path)
    if sentence:
        lines.tell_error(sentence, result.exit_code)
    status: int = result.exit_code
    return status


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


def _trains_here(config: Any, command: str) -> None:
    from pipeline import endpoints

    endpoints.refuse_elsewhere(config, command)


def _compare(options: argparse.Namespace) -> int:
    from pipeline import compare

    methods = None if options.methods is None else options.methods.split(",")
    found = compare.candidates(options.config, methods, options.seeds, options.sets)
    _not_each(found[0].config, "compare")
    _trains_here(found[0].config, "compare")
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
    _trains_here(config, "tune")
    _prepare(config)
    from pipeline import tune

    return tune.tune(config, debug=options.debug)


def _compile(options: argparse.Namespace) -> int:
    from pipeline import compiling
    from pipeline.config_io import load_config

    def load(method: str | None) -> Any:
        chosen = method or options.method
        return load_config(options.config, sets=options.sets, method=chosen)

    made = compiling.runtime_of(load, options.on)
    _importable(made.config)
    with _quiet(options):
        compiling.compile_to(options.output, made)
    lines.tell(f"compiled {options.output}")
    return DONE


def _submit(options: argparse.Namespace) -> int:
    from pipeline import compiling, parameters, submitting
    from pipeline.config_io import load_config

    def load(method: str | None) -> Any:
        return load_config(options.config, sets=options.sets, method=method)

    config = load(None)
    if options.follow is not None:
        if options.method is not None or options.span is not None:
            raise ConfigError(
                "--follow sends nothing, so --method and --span change nothing; leave"
                " them out"
            )
        options.on = submitting.read_sent(config, options.follow).on
    made = compiling.runtime_of(load, options.on)
    _importable(config)
    service = _service(config, made.target)
    if options.follow is not None:
        result = submitting.follow(config, service, options.follow, debug=options.debug)
        return _ended(options, config, result)
    asked = parameters.Asked(options.method, options.span)
    sent = submitting.submit(
        config,
        made,
        service,
        asked,
        follow=not options.no_follow,
        debug=options.debug,
    )
    return DONE if sent is None else _ended(options, config, sent)


def _service(config: Any, target: Any) -> Any:
    from pipeline import kubeflow_service, remote_config, vertex_service

    if isinstance(target, remote_config.Vertex):
        return vertex_service.VertexService(target)
    return kubeflow_service.KubeflowService(target, config.folder)


@contextlib.contextmanager
def _quiet(options: argparse.Namespace) -> Iterator[None]:
    """Keeps what TensorFlow says when it is imported from the terminal."""
    if options.debug:
        yield
        return
    from pipeline import run_log

    with tempfile.NamedTemporaryFile() as log, run_log.captured(log.name):
        yield


def _rollback(options: argparse.Namespace) -> int:
    config = _load(options)
    from components.pusher import rollback
    from pipeline import compiling, endpoints, sources_check

    if config.push.to == "vertex":
        with _quiet(options):
            told = endpoints.roll_back(config, options.to)
    else:
        if options.on is not None:  # where such a pipeline releases
            there = config
            config = compiling.runtime_of(lambda _: there, options.on).config
        sources_check.check_serving(config)
        told = rollback.roll_back(config.push.path, options.to).lines
    for line in told:
        lines.tell(line)
    return DONE


def _monitor(options: argparse.Namespace) -> int:
    config = _load(options)
    from pipeline import endpoints, monitoring

    endpoints.refuse_endpoint(
        config,
        "monitor",
        "copy the version that is served into a folder, and name that with --set"
        " push.to=filesystem --set push.path=FOLDER",
    )
    asked = monitoring.Asked(
        options.data, options.environment, options.rollback, options.dry_run
    )
    options.monitored = monitoring.monitor(config, asked)
    options.name = config.name
    return DONE if options.monitored["verdict"] == "HOLDS" else REFUSED


def _prune(options: argparse.Namespace) -> int:
    config = _load(options)
    from pipeline import endpoints, pruning

    endpoints.refuse_endpoint(
        config,
        "prune",
        "give the bucket a lifecycle rule for <vertex.root>/artifacts, or --set"
        " push.to=filesystem to prune runs of this machine",
    )
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
