"""Executes a compiled job task by task, from its JSON alone. A stand-in, and ours.

What is real: the spec, and in each container task the command and the arguments of the
spec, run in a process of its own that sees an installed package and no checkout.

What is ours, and only as faithful as we know the services: the order of the tasks, the
artifacts' names and places, the two resolvers that TFX compiles, and the cache. A
bucket is a folder of this machine, whose path takes the place of its address in the
JSON.
"""

import concurrent.futures
import dataclasses
import hashlib
import json
import os
import pathlib
import re
import subprocess
from typing import Any

# What tasks may see of the environment of the tests.
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")


class TaskFailed(Exception):
    """A container task ended with another exit than 0."""

    def __init__(self, task: str, log: str, root: pathlib.Path):
        super().__init__(f"{task} failed:\n{log[-4000:]}")
        self.task, self.root = task, root


@dataclasses.dataclass
class Cluster:
    """An orchestrator with its metadata.

    Attributes:
      python: that container tasks run with, in the place of `python`.
      bucket: address -> folder that stands for it.
      workers: how many tasks run at once.
      artifacts: all that were made, the oldest first.
      cache: key -> the artifacts of a task.
    """

    python: str
    bucket: tuple[str, pathlib.Path]
    workers: int = 2
    artifacts: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    cache: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)

    def execute(
        self, job: dict[str, Any], values: dict[str, str] | None = None
    ) -> "Run":
        """Runs a job to its end, or to its first failure.

        Args:
          job: as `tfx-irm compile` writes it.
          values: of parameters, over those of the job.
        """
        address, folder = self.bucket
        job = json.loads(json.dumps(job).replace(address, str(folder)))
        config = job["runtimeConfig"]
        given = {**config.get("parameterValues", {}), **(values or {})}
        number = len(list(folder.glob("runs/*")))
        root = folder / "runs" / str(number)
        root.mkdir(parents=True)
        return Run(self, job["pipelineSpec"], given, root).execute()


@dataclasses.dataclass
class Run:
    """One execution of a spec.

    Attributes:
      outputs: task -> key -> artifacts.
      executed: tasks that ran, in the order of their ends.
      cached: tasks that the cache answered.
    """

    cluster: Cluster
    spec: dict[str, Any]
    values: dict[str, str]
    root: pathlib.Path
    outputs: dict[str, dict[str, list[dict[str, Any]]]] = dataclasses.field(
        default_factory=dict
    )
    executed: list[str] = dataclasses.field(default_factory=list)
    cached: list[str] = dataclasses.field(default_factory=list)

    def execute(self) -> "Run":
        """Every task when all that it waits for has ended."""
        tasks = self.spec["root"]["dag"]["tasks"]
        waits = {name: _waits_for(task) for name, task in tasks.items()}
        pool = concurrent.futures.ThreadPoolExecutor(self.cluster.workers)
        running: dict[Any, str] = {}
        with pool:
            while len(self.outputs) < len(tasks):
                for name in sorted(tasks):
                    started = name in self.outputs or name in running.values()
                    if not started and waits[name] <= set(self.outputs):
                        running[pool.submit(self._task, name, tasks[name])] = name
                assert running, f"{sorted(set(tasks) - set(self.outputs))} wait forever"
                done, _ = concurrent.futures.wait(
                    running, return_when=concurrent.futures.FIRST_COMPLETED
                )
                for future in done:
                    self.outputs[running.pop(future)] = future.result()
        return self

    def _task(self, name: str, task: dict[str, Any]) -> dict[str, Any]:
        component = self.spec["components"][task["componentRef"]["name"]]
        executor = self.spec["deploymentSpec"]["executors"][component["executorLabel"]]
        inputs = {
            key: self.outputs[source["taskOutputArtifact"]["producerTask"]][
                source["taskOutputArtifact"]["outputArtifactKey"]
            ]
            for key, source in (
                (key, dict(given))
                for key, given in task.get("inputs", {}).get("artifacts", {}).items()
            )
        }
        parameters = {
            key: self._value(given)
            for key, given in task.get("inputs", {}).get("parameters", {}).items()
        }
        kinds = {
            key: given["artifactType"]
            for key, given in component.get("outputDefinitions", {})
            .get("artifacts", {})
            .items()
        }
        if "resolver" in executor:
            queries = executor["resolver"]["outputArtifactQueries"]
            return {
                key: self._resolved(q["filter"], inputs) for key, q in queries.items()
            }
        container = executor["container"]
        told = json.dumps([container, inputs, parameters], sort_keys=True)
        key = hashlib.sha256(told.encode()).hexdigest()
        may = task.get("cachingOptions", {}).get("enableCache", False)
        if may and key in self.cluster.cache:
            self.cached.append(name)
            return self.cluster.cache[key]
        made = self._contained(name, container, inputs, parameters, kinds)
        self.cluster.cache[key] = made
        self.executed.append(name)
        return made

    def _value(self, given: dict[str, Any]) -> Any:
        if "componentInputParameter" in given:
            return self.values[given["componentInputParameter"]]
        return given["runtimeValue"]["constant"]

    def _contained(
        self,
        name: str,
        container: dict[str, Any],
        inputs: dict[str, Any],
        parameters: dict[str, Any],
        kinds: dict[str, Any],
    ) -> dict[str, Any]:
        """Runs a container task as the services do, and reads what it left."""
        folder = self.root / f"{name}_{len(list(self.root.iterdir()))}"
        folder.mkdir()
        output_file = folder / "executor_output.json"
        outputs = {
            key: {
                "name": f"artifacts/{self.root.name}/{name}/{key}",
                "type": kind,
                "uri": str(folder / key),
            }
            for key, kind in kinds.items()
        }
        executor_input = {
            "inputs": {
                "artifacts": {k: {"artifacts": v} for k, v in inputs.items()},
                "parameterValues": parameters,
            },
            "outputs": {
                "artifacts": {k: {"artifacts": [v]} for k, v in outputs.items()},
                "outputFile": str(output_file),
            },
        }
        assert container["image"]
        assert container["command"][0] == "python"
        said = json.dumps(executor_input)
        words = [said if word == "{{$}}" else word for word in container["args"]]
        assert not any("{{$" in word for word in words if word != said)
        elsewhere = folder / "cwd"
        elsewhere.mkdir()
        done = subprocess.run(
            [self.cluster.python, *container["command"][1:], *words],
            cwd=elsewhere,
            env={k: os.environ[k] for k in KEPT if k in os.environ}
            | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        (folder / "log.txt").write_text(done.stdout + done.stderr)
        if done.returncode != 0:
            raise TaskFailed(name, done.stdout + done.stderr, self.root)
        told = json.loads(output_file.read_text()).get("artifacts", {})
        for key, artifact in outputs.items():
            (left,) = told[key]["artifacts"]
            artifact |= {k: left[k] for k in ("uri", "metadata") if k in left}
            self.cluster.artifacts.append(artifact)
        return {key: [artifact] for key, artifact in outputs.items()}

    def _resolved(self, query: str, inputs: dict[str, Any]) -> list[dict[str, Any]]:
        """The newest artifact that a query of TFX's asks for, or none."""

        def filled(match: re.Match[str]) -> str:
            found = inputs[match[1]]
            return str(found[0]["metadata"][match[2]]) if found else ""

        pattern = r"\{\{\$\.inputs\.artifacts\['(\w+)'\]\.metadata\['(\w+)'\]\}\}"
        query = re.sub(pattern, filled, query)
        wanted = []
        for part in query.split(" AND "):
            left, _, right = part.partition("=")
            wanted.append((left, right.strip('"')))
        found = [a for a in self.cluster.artifacts if _fits(a, wanted)]
        return found[-1:]


def _fits(artifact: dict[str, Any], wanted: list[tuple[str, str]]) -> bool:
    for left, right in wanted:
        if left == "state":
            assert right == "LIVE"
        elif left == "schema_title":
            title = re.search(r"title: (\S+)", artifact["type"]["instanceSchema"])
            if title is None or title[1] != right:
                return False
        elif left == "name":
            if artifact["name"] != right:
                return False
        else:
            key = re.fullmatch(r"metadata\.(\w+)\.number_value", left)
            assert key is not None, left
            value = artifact.get("metadata", {}).get(key[1])
            if value is None or float(value) != float(right):
                return False
    return True


def _waits_for(task: dict[str, Any]) -> set[str]:
    before = set(task.get("dependentTasks", ()))
    for given in task.get("inputs", {}).get("artifacts", {}).values():
        before.add(given["taskOutputArtifact"]["producerTask"])
    return before
