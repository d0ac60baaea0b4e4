"""`tfx-irm submit --on kubeflow`, with kfp's client against a stub of a cluster."""

import json
import os
import socket
import time

import pytest

from components.source_manifest import listing
from pipeline import compiling, kubeflow_service, kubeflow_v2_runner
from pipeline.config_io import load_config
from tests.submit import stubs
from tests.submit.helpers import BUCKET, KUBEFLOW_LAYOUTS, RECORD, STAGES, Leaves

HOST = "https://kubeflow.example.com/pipeline"


@pytest.fixture
def leaves(kubeflow):
    kubeflow.runs = Leaves(KUBEFLOW_LAYOUTS[1])
    return kubeflow.runs


@pytest.fixture
def submit(project, kubeflow, monkeypatch):
    """Submits; the run that the cluster took last."""
    monkeypatch.setattr(time, "sleep", _short(time.sleep))
    project.replace(HOST, f"{kubeflow.url}/pipeline")

    def command(*arguments):
        project.done = project.submit("--on", "kubeflow", *arguments)
        return kubeflow.created[-1] if kubeflow.created else None

    return command


def _short(sleep):
    return lambda seconds: sleep(min(seconds, 0.02))


def succeeded(kubeflow, **more):
    tasks = [
        kubeflow.task(name, "SUCCEEDED", seconds=10 * i, start=100 * i)
        for i, name in enumerate(STAGES, 1)
    ]
    return kubeflow.state("SUCCEEDED", *tasks, **more)


class TestWhatIsSent:
    @pytest.fixture(autouse=True)
    def _succeeds(self, kubeflow, leaves):
        kubeflow.answers = [succeeded(kubeflow)]

    def test_the_compiled_spec_with_root_and_account(self, submit, project, kubeflow):
        run = submit()
        assert project.done[0] == 0, project.done
        (folder,) = project.runs
        root = f"{BUCKET}/root/runs/{folder.name}"
        assert run["runtime_config"]["pipeline_root"] == root
        assert run["service_account"] == "pipeline-runner"
        assert run["display_name"] == f"flights-{folder.name}"
        assert run["experiment_id"] == "experiment-1"
        (experiment,) = kubeflow.experiments
        assert experiment["display_name"] == "tfx-irm"
        assert experiment["namespace"] == "team-a"
        config = str(project.config)
        made = compiling.runtime_of(lambda m: load_config(config, method=m), "kubeflow")
        written = kubeflow_v2_runner.compile_job(made)["pipelineSpec"]
        tasks = written["root"]["dag"]["tasks"]
        tasks["SourceManifest"]["cachingOptions"] = {"enableCache": True}
        sent = run["pipeline_spec"]
        assert sent["schemaVersion"] == written["schemaVersion"] == "2.1.0"
        assert sent["deploymentSpec"] == json.loads(
            json.dumps(written["deploymentSpec"])
        )
        assert sent["root"]["dag"]["tasks"].keys() == tasks.keys()
        caching = {
            n: t["cachingOptions"] for n, t in sent["root"]["dag"]["tasks"].items()
        }
        assert caching == {n: t.get("cachingOptions", {}) for n, t in tasks.items()}

    def test_the_parameters(self, submit, project, store):
        values = submit("--method", "irm_v1")["runtime_config"]["parameters"]
        files = listing.build_manifest(load_config(str(project.config)).data.sources)
        assert values == {
            "fingerprint": listing.fingerprint(files),
            "method": "irm_v1",
        }

    def test_the_experiment_that_is_there(self, submit, kubeflow):
        known = {"experiment_id": "experiment-7", "display_name": "tfx-irm"}
        kubeflow.experiments = [known]
        assert submit()["experiment_id"] == "experiment-7"
        assert len(kubeflow.experiments) == 1

    def test_the_token_in_every_request(self, submit, kubeflow):
        submit()
        tokens = {one.headers.get("authorization") for one in kubeflow.requests}
        assert tokens == {f"Bearer {kubeflow.token}"}

    def test_a_token_in_a_file_beside_the_config(self, submit, project, kubeflow):
        project.replace("token: {env: THE_TOKEN}", "token: {file: token.txt}")
        (project.folder / "token.txt").write_text(f"{kubeflow.token}\n")
        assert submit() is not None
        assert project.done[0] == 0

    def test_no_token_where_none_is_wanted(self, submit, project, kubeflow):
        project.replace("  token: {env: THE_TOKEN}\n", "")
        kubeflow.token = None
        assert submit() is not None
        assert project.done[0] == 0

    def test_a_volume_whose_files_are_not_here(self, submit, project, tmp_path):
        text = project.config.read_text().replace(BUCKET, str(tmp_path / "volume"))
        section = text.index("vertex:"), text.index("kubeflow:")
        project.config.write_text(text[: section[0]] + text[section[1] :])
        run = submit()
        assert project.done[0] == 0
        assert run["runtime_config"]["parameters"]["fingerprint"] == ""
        assert "sources  not fingerprinted from here" in project.done[1]


class TestTheEnd:
    @pytest.mark.parametrize("layout", KUBEFLOW_LAYOUTS)
    def test_a_released_model(
        self, submit, project, kubeflow, leaves, layout, is_summary
    ):
        leaves.layout = layout
        kubeflow.answers = [
            kubeflow.state("PENDING"),
            kubeflow.state("RUNNING", kubeflow.task("SourceManifest", "RUNNING")),
            kubeflow.state(
                "SUCCEEDED",
                kubeflow.task("RunRecord", "SUCCEEDED", 3.5, start=90),
                kubeflow.task("SourceManifest", "SUCCEEDED", 12.25),
                kubeflow.task("Trainer", "SKIPPED", 1, start=30),
            ),
        ]
        submit()
        code, out, err = project.done
        assert (code, err) == (0, "")
        (folder,) = project.runs
        lines = out.splitlines()
        assert lines[0] == f"flights: v_rex, run {folder.name}, on Kubeflow Pipelines"
        address = f"{kubeflow.url}/pipeline/#/runs/details/{kubeflow.run_id}"
        assert lines[3] == f"follow   {address}"
        assert lines[4:7] == [
            "  SourceManifest              12.2 s",
            "  Trainer                      1.0 s  reused",
            "  RunRecord                    3.5 s",
        ]
        assert lines[8].startswith("verdict  PASS")
        assert lines[-2:] == [
            f"pushed   {RECORD['pushed']}",
            f"report   {folder / 'report.html'}",
        ]
        is_summary(project.summary)
        assert [s["cached"] for s in project.summary["stages"]][-2:] == [True, False]

    def test_a_refused_model(self, submit, project, kubeflow, leaves):
        record = {**RECORD, "pushed": None, "verdict": "INSUFFICIENT_DATA"}
        leaves.files["summary.json"] = json.dumps(record)
        kubeflow.answers = [succeeded(kubeflow)]
        submit()
        assert project.done[0] == 3

    def test_success_without_a_record(self, submit, project, kubeflow):
        kubeflow.answers = [succeeded(kubeflow)]
        submit()
        assert project.done[0] == 1
        assert "left no summary.json" in project.done[2]

    @pytest.mark.parametrize("layout", KUBEFLOW_LAYOUTS)
    def test_a_failed_stage_that_told_why(
        self, submit, project, kubeflow, leaves, layout
    ):
        leaves.layout, leaves.files = layout, None
        leaves.error = json.dumps({"exit": 2, "sentence": "the data are wrong"})
        failed = kubeflow.task("Trainer", "FAILED", 7, error="exit code 1")
        kubeflow.answers = [kubeflow.state("FAILED", failed)]
        submit()
        assert project.done[0] == 2
        assert project.done[2] == "tfx-irm: the data are wrong\n"

    def test_one_that_did_not(self, submit, project, kubeflow):
        failed = kubeflow.task("Trainer", "FAILED", 7)
        kubeflow.answers = [kubeflow.state("FAILED", failed, error="OOMKilled")]
        submit()
        code, _, err = project.done
        assert code == 1
        assert err.startswith("tfx-irm: Trainer failed: OOMKilled; its log: Kubeflow")


class TestTheClusterSaysNo:
    @pytest.mark.parametrize(
        ("status", "said", "code", "mend"),
        [
            (403, "not authorized", 1, "may not start runs in team-a as pipeline-run"),
            (429, "too many", 1, "wait, and submit again"),
            (404, "no namespace", 2, "check kubeflow.host"),
            (400, "invalid pipeline spec", 2, "mend the section kubeflow"),
            (401, "expired", 1, "the token of kubeflow.token is not taken"),
        ],
    )
    def test_to_the_run(self, submit, project, kubeflow, status, said, code, mend):
        kubeflow.on_create = [(status, said)]
        assert submit() is None
        found, _, err = project.done
        assert (found, len(err.splitlines())) == (code, 1)
        assert f"Kubeflow Pipelines says: {status}, {said}; " in err
        assert mend in err

    def test_a_wrong_token(self, submit, project, monkeypatch):
        monkeypatch.setenv("THE_TOKEN", "another-secret")
        began = time.monotonic()
        assert submit() is None
        assert time.monotonic() - began < 5
        code, _, err = project.done
        assert code == 1
        assert "401" in err
        assert "another-secret" not in err

    def test_no_token_where_one_is_wanted(self, submit, project):
        project.replace("  token: {env: THE_TOKEN}\n", "")
        assert submit() is None
        assert "give kubeflow.token" in project.done[2]

    def test_a_page_that_asks_who_it_is(self, submit, project, kubeflow, monkeypatch):
        monkeypatch.setattr(kubeflow, "handle", lambda request: (302, "to /dex/auth"))
        monkeypatch.setitem(stubs.WORDS, 302, "FOUND")
        assert submit() is None
        assert project.done[0] == 1
        assert "the token of kubeflow.token is not taken" in project.done[2]

    def test_another_server(self, submit, project, kubeflow, monkeypatch):
        monkeypatch.setattr(kubeflow, "handle", lambda request: b"<html>a site</html>")
        assert submit() is None
        assert project.done[0] == 2
        assert "kubeflow.host needs the path of the API too" in project.done[2]

    @pytest.mark.parametrize(
        ("place", "content", "said"),
        [
            ("{env: NOT_SET}", None, "NOT_SET is empty or not there"),
            ("{file: none.txt}", None, "none.txt cannot be read (No such file"),
            ("{file: token.txt}", b"", "token.txt is empty or not there"),
            ("{file: token.txt}", b"two words", "token.txt holds no token"),
            ("{file: token.txt}", b"\xff\xfe", "token.txt cannot be read (it is no"),
        ],
    )
    def test_a_token_that_is_not_there(self, submit, project, place, content, said):
        project.replace("{env: THE_TOKEN}", place)
        if content is not None:
            (project.folder / "token.txt").write_bytes(content)
        assert submit() is None
        assert project.done[0] == 2
        assert f"kubeflow.token: {said}" in project.done[2]

    def test_an_authority_that_is_not_there(self, submit, project):
        project.replace("  token:", "  ca_file: none.pem\n  token:")
        assert submit() is None
        assert project.done[0] == 2
        assert "kubeflow.ca_file is none.pem" in project.done[2]


class TestTheClusterIsSilent:
    @pytest.mark.parametrize("bad", [stubs.DROP, 503, b"<html>a proxy</html>"])
    def test_a_few_looks_that_fail_are_nothing(
        self, submit, project, kubeflow, leaves, bad
    ):
        kubeflow.answers = [
            kubeflow.state("RUNNING"),
            *[bad] * 3,
            kubeflow.state("RUNNING"),
            bad,
            succeeded(kubeflow),
        ]
        submit()
        assert project.done[0] == 0, project.done

    def test_many_end_it_with_how_to_look(self, submit, project, kubeflow):
        kubeflow.answers = [kubeflow.state("RUNNING"), stubs.DROP]
        submit()
        code, _, err = project.done
        assert code == 1
        assert "Kubeflow Pipelines does not answer" in err
        assert f"--follow {project.runs[-1].name}" in err

    def test_one_that_never_answers(self, submit, project, kubeflow, monkeypatch):
        monkeypatch.setattr(kubeflow_service, "SECONDS", 0.5)
        kubeflow.answers = [kubeflow.state("RUNNING"), stubs.HANG]
        submit()
        assert project.done[0] == 1
        assert "has not answered for" in project.done[2]

    def test_nothing_answers_to_the_run(self, submit, project, kubeflow):
        kubeflow.on_create = [stubs.DROP]
        assert submit() is None
        code, _, err = project.done
        assert code == 1
        assert "look there before you submit again" in err

    def test_nobody_is_there(self, submit, project, kubeflow):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            text = project.config.read_text()
            url = f"http://127.0.0.1:{port}"
            project.config.write_text(text.replace(kubeflow.url, url))
            assert submit() is None
        assert project.done[0] == 1
        assert f"at {url}/pipeline cannot be reached" in project.done[2]

    def test_a_token_that_was_renewed_in_its_file(
        self, submit, project, kubeflow, leaves
    ):
        project.replace("token: {env: THE_TOKEN}", "token: {file: token.txt}")
        path = project.folder / "token.txt"
        path.write_text(kubeflow.token)
        looks = []

        def next_state():
            looks.append(1)
            if len(looks) == 1:
                kubeflow.token = "the-next-token"
                path.write_text(kubeflow.token)
                return kubeflow.state("RUNNING")
            return succeeded(kubeflow)

        kubeflow.next = next_state
        submit()
        assert project.done[0] == 0, project.done

    def test_later(self, submit, project, kubeflow, leaves):
        submit("--no-follow")
        assert project.done[0] == 0
        kubeflow.answers = [succeeded(kubeflow)]
        (folder,) = project.runs
        # `--on` is known of the run.
        project.done = project.submit("--follow", folder.name)
        assert project.done[0] == 0
        assert len(kubeflow.created) == 1
        assert os.path.isfile(folder / "report.html")
