"""`tfx-irm submit --on vertex`, with Google's client against a stub of the service."""

import json
import re

import pytest

from components.source_manifest import listing
from pipeline import compiling, kubeflow_v2_runner, vertex_service
from pipeline.config_io import load_config
from tests.submit import stubs
from tests.submit.helpers import BUCKET, DATA, RECORD, STAGES, VERTEX_LAYOUT, Leaves


@pytest.fixture
def leaves(vertex):
    vertex.runs = Leaves(VERTEX_LAYOUT)
    return vertex.runs


@pytest.fixture
def submit(project, vertex):
    """Submits; the job that the service took last."""

    def command(*arguments):
        project.done = project.submit("--on", "vertex", *arguments)
        return vertex.created[-1] if vertex.created else None

    return command


def succeeded(vertex, **more):
    tasks = [
        vertex.task(name, "SUCCEEDED", seconds=10 * i, start=100 * i)
        for i, name in enumerate(STAGES, 1)
    ]
    return vertex.state("SUCCEEDED", *tasks, **more)


class TestWhatIsSent:
    @pytest.fixture(autouse=True)
    def _succeeds(self, vertex, leaves):
        vertex.answers = [succeeded(vertex)]

    def test_the_compiled_job_with_root_account_network_and_labels(
        self, submit, project, leaves
    ):
        job = submit()
        assert project.done[0] == 0, project.done
        (folder,) = project.runs
        root = f"{BUCKET}/root/runs/{folder.name}"
        assert job["runtimeConfig"]["gcsOutputDirectory"] == root
        assert job["serviceAccount"] == "trainer@a-project.iam.gserviceaccount.com"
        assert job["network"] == "projects/123456/global/networks/private"
        assert (
            job["labels"]
            | {
                "team": "cardiology",
                "tfx-irm-run": folder.name,
                "tfx-irm-pipeline": "flights",
            }
            == job["labels"]
        )
        assert all(re.fullmatch("[-_a-z0-9]{1,63}", v) for v in job["labels"].values())
        assert job["name"].endswith(f"/pipelineJobs/flights-{folder.name}")
        spec = job["pipelineSpec"]
        assert spec["schemaVersion"] == "2.1.0"
        assert spec["pipelineInfo"]["name"] == "flights"

    def test_only_the_cache_of_the_manifest_differs_from_what_compile_writes(
        self, submit, project
    ):
        sent = submit()["pipelineSpec"]
        config = str(project.config)
        made = compiling.runtime_of(lambda m: load_config(config, method=m), "vertex")
        written = kubeflow_v2_runner.compile_job(made)["pipelineSpec"]
        tasks = written["root"]["dag"]["tasks"]
        assert tasks["SourceManifest"]["cachingOptions"] == {}
        tasks["SourceManifest"]["cachingOptions"] = {"enableCache": True}
        assert sent == json.loads(json.dumps(written))

    def test_the_fingerprint_is_that_of_the_sources(self, submit, project, store):
        values = submit()["runtimeConfig"]["parameterValues"]
        sources = load_config(str(project.config)).data.sources
        files = listing.build_manifest(sources)
        assert [file.path.rpartition("/")[2] for file in files] == list(DATA)
        assert values == {"fingerprint": listing.fingerprint(files), "method": ""}

    def test_another_file_is_another_fingerprint(self, submit, store):
        one = submit()["runtimeConfig"]["parameterValues"]["fingerprint"]
        store.objects["a-bucket/data/ewr.parquet"] = b"more"
        two = submit()["runtimeConfig"]["parameterValues"]["fingerprint"]
        assert one != two

    def test_sources_that_cannot_be_listed_are_told_and_not_cached(
        self, submit, project, store
    ):
        store.fail = lambda what, name: 403
        job = submit()
        assert project.done[0] == 0
        assert job["runtimeConfig"]["parameterValues"]["fingerprint"] == ""
        manifest = job["pipelineSpec"]["root"]["dag"]["tasks"]["SourceManifest"]
        assert not manifest["cachingOptions"].get("enableCache")
        told = [line for line in project.done[1].splitlines() if "sources " in line]
        assert len(told) == 1
        assert "SourceManifest is run anew" in told[0]

    def test_a_bucket_without_the_sources_is_an_error_and_nothing_is_sent(
        self, submit, project, store
    ):
        del store.objects["a-bucket/data/ewr.parquet"]
        assert submit() is None
        code, _, err = project.done
        assert code == 2
        assert "no file matches 'gs://a-bucket/data/ewr.parquet'" in err
        assert project.summary["error"]["exit"] == 2

    def test_a_method_is_a_value_and_not_compiled_in(self, submit, project):
        own, other = submit(), submit("--method", "irm_v1")
        assert own["pipelineSpec"] == other["pipelineSpec"]
        assert other["runtimeConfig"]["parameterValues"]["method"] == "irm_v1"
        assert f"flights: irm_v1, run {project.runs[-1].name}" in project.done[1]

    def test_the_config_s_own_method_is_an_empty_value(self, submit):
        job = submit("--method", "v_rex")
        assert job["runtimeConfig"]["parameterValues"]["method"] == ""

    def test_another_method_is_refused_and_leaves_nothing(self, submit, project):
        assert submit("--method", "coral") is None
        code, out, err = project.done
        assert (code, out) == (2, "")
        assert "--method is 'coral', which is none of" in err
        assert "legal are irm_v1" in err
        assert not (project.folder / "runs-root").exists()

    def test_a_span_where_there_are_none_is_refused(self, submit, project):
        assert submit("--span", "7") is None
        assert project.done[0] == 2
        assert "--span is '7', and no source" in project.done[2]

    def test_a_span_is_a_value(self, submit, project, store):
        project.replace("data/ewr.parquet", "data/span-{SPAN}.parquet")
        for span in (3, 4):
            store.objects[f"a-bucket/data/span-{span}.parquet"] = b"rows"
        newest, older = submit(), submit("--span", "3")
        values = [job["runtimeConfig"]["parameterValues"] for job in (newest, older)]
        assert [value["span"] for value in values] == ["", "3"]
        assert values[0]["fingerprint"] != values[1]["fingerprint"]
        assert newest["pipelineSpec"] == older["pipelineSpec"]
        assert submit("--span", "seven") is older
        assert project.done[0] == 2
        assert "the parameter span is 'seven'" in project.done[2]

    def test_what_was_sent_is_kept(self, submit, project):
        job = submit()
        kept = json.loads((project.runs[-1] / "job.json").read_text())
        assert kept["pipelineSpec"] == job["pipelineSpec"]
        sent = json.loads((project.runs[-1] / "submitted.json").read_text())
        assert sent["values"] == job["runtimeConfig"]["parameterValues"]
        assert sent["job"] == job["name"]


class TestTheEnd:
    def test_a_released_model(self, submit, project, vertex, leaves):
        vertex.answers = [
            vertex.state("PENDING"),
            vertex.state("RUNNING", vertex.task("SourceManifest", "RUNNING")),
            vertex.state(
                "RUNNING",
                vertex.task("flights", "RUNNING"),
                vertex.task("SourceManifest", "SUCCEEDED", 12.25),
                vertex.task("MultiEnvExampleGen", "SKIPPED", start=20),
                vertex.task("Trainer", "RUNNING", start=30),
            ),
            vertex.state(
                "SUCCEEDED",
                vertex.task("flights", "SUCCEEDED", 100),
                vertex.task("RunRecord", "SUCCEEDED", 3.5, start=90),
                vertex.task("SourceManifest", "SUCCEEDED", 12.25),
                vertex.task("MultiEnvExampleGen", "SKIPPED", start=20),
                vertex.task("Trainer", "SUCCEEDED", 50, start=30),
            ),
        ]
        submit()
        code, out, err = project.done
        assert (code, err) == (0, "")
        (folder,) = project.runs
        lines = out.splitlines()
        assert lines[0] == f"flights: v_rex, run {folder.name}, on Vertex AI"
        address = (
            "https://console.cloud.google.com/vertex-ai/locations/europe-west4"
            f"/pipelines/runs/flights-{folder.name}?project=a-project"
        )
        assert lines[3] == f"follow   {address}"
        assert lines[4:8] == [
            "  SourceManifest              12.2 s",
            "  MultiEnvExampleGen           0.0 s  reused",
            "  Trainer                     50.0 s",
            "  RunRecord                    3.5 s",
        ]
        assert lines[9].startswith("verdict  PASS")
        assert lines[-2] == f"pushed   {RECORD['pushed']}"
        assert lines[-1] == f"report   {folder / 'report.html'}"
        assert (folder / "report.html").read_text() == "<p>report</p>"
        assert (folder / "environments.html").read_text() == "<p>page</p>"

    def test_its_summary_is_whole(self, submit, project, vertex, leaves, is_summary):
        vertex.answers = [succeeded(vertex)]
        submit()
        found = project.summary
        is_summary(found)
        assert found["run_id"] == project.runs[-1].name
        stages = {stage["name"]: stage["seconds"] for stage in found["stages"]}
        expected = {name: 10.0 * i for i, name in enumerate(STAGES, 1)}
        assert {k: v for k, v in stages.items() if k in STAGES} == expected
        assert list(stages)[:2] == ["compile", "submit"]
        assert {k: found[k] for k in RECORD} == RECORD

    def test_a_refused_model(self, submit, project, vertex, leaves):
        record = {**RECORD, "pushed": None, "verdict": "FAIL"}
        leaves.files["summary.json"] = json.dumps(record)
        vertex.answers = [succeeded(vertex)]
        submit()
        assert project.done[0] == 3
        assert "verdict  FAIL" in project.done[1]
        assert "pushed   nothing" in project.done[1]

    def test_the_record_where_the_service_says(self, submit, project, vertex, leaves):
        leaves.layout = "somewhere/quite/else/{}"
        place = f"{BUCKET}/root/runs/RUN/somewhere/quite/else/RunRecord/record"

        def state():
            run = project.runs[-1].name
            task = vertex.task(
                "RunRecord", "SUCCEEDED", 1, record=place.replace("RUN", run)
            )
            return vertex.state("SUCCEEDED", task)

        vertex.next = state
        submit()
        assert project.done[0] == 0
        assert project.summary["verdict"] == "PASS"

    def test_the_report_and_the_metrics_are_of_the_copy(
        self, submit, project, vertex, leaves, command
    ):
        vertex.answers = [succeeded(vertex)]
        metrics = project.folder / "metrics.txt"
        submit("--metrics", str(metrics))
        text = metrics.read_text()
        assert 'tfx_irm_verdict{verdict="PASS"} 1.0' in text
        assert f'run_id="{project.runs[-1].name}"' in text
        code, out, _ = command("report", str(project.config))
        assert (code, out) == (0, f"{project.runs[-1] / 'report.html'}\n")

    def test_lines_as_json(self, submit, project, vertex, leaves):
        vertex.answers = [succeeded(vertex)]
        submit("--log-format", "json")
        lines = [json.loads(line) for line in project.done[1].splitlines()]
        told = [line for line in lines if line.get("stage") == "Trainer"]
        assert [(one["seconds"], one["outcome"]) for one in told] == [(30.0, "done")]
        assert lines[0]["run"] == project.runs[-1].name
        (address,) = (line["address"] for line in lines if "address" in line)
        assert address.startswith("https://console.cloud.google.com/")
        assert lines[-1]["report"] == str(project.runs[-1] / "report.html")

    def test_success_without_a_record(self, submit, project, vertex, leaves):
        leaves.files = None
        vertex.answers = [succeeded(vertex)]
        submit()
        code, _, err = project.done
        assert code == 1
        assert "the job succeeded, and left no summary.json" in err
        assert f"{BUCKET}/root/runs/{project.runs[-1].name}" in err

    def test_success_with_a_record_that_may_not_be_read(
        self, submit, project, vertex, leaves, bucket
    ):
        vertex.answers = [succeeded(vertex)]

        def finish(root):
            bucket.refuses = "me@example.invalid has no storage.objects.list"

        vertex.runs = finish
        submit()
        code, _, err = project.done
        assert code == 1
        assert "cannot be read from here" in err
        assert "me@example.invalid has no storage.objects.list" in err
        assert "roles/storage.objectViewer" in err


class TestAFailedJob:
    @pytest.fixture(autouse=True)
    def _fails(self, vertex, leaves):
        leaves.files = None
        said = "The replica workerpool0-0 exited with a non-zero status of 1."
        vertex.answers = [
            vertex.state(
                "FAILED",
                vertex.task("SourceManifest", "SUCCEEDED", 10),
                vertex.task("Trainer", "FAILED", 7, start=20, error=said),
                vertex.task("Evaluator", "NOT_TRIGGERED"),
                error="The DAG failed because some tasks failed.",
            )
        ]

    def test_with_the_sentence_that_the_stage_left(
        self, submit, project, leaves, is_summary
    ):
        sentence = "environment 'EWR': no file matches 'x'; check the path"
        leaves.error = json.dumps({"exit": 2, "sentence": sentence})
        submit()
        code, out, err = project.done
        assert code == 2
        assert err == f"tfx-irm: {sentence}\n"
        assert "  Trainer                      7.0 s  failed\n" in out
        assert "Evaluator" not in out
        is_summary(project.summary)
        assert project.summary["error"] == {"exit": 2, "sentence": sentence}
        assert project.summary["verdict"] is None

    def test_one_that_is_no_user_s_names_the_stage(self, submit, project, leaves):
        told = {"exit": 1, "sentence": "ResourceExhaustedError: OOM"}
        leaves.error = json.dumps(told)
        submit()
        assert project.done[0] == 1
        assert project.done[2] == (
            "tfx-irm: Trainer failed: ResourceExhaustedError: OOM\n"
        )

    @pytest.mark.parametrize("left", [None, "{", '{"exit": 2}', "[]"])
    def test_without_one(self, submit, project, leaves, left):
        leaves.error = left
        submit()
        code, _, err = project.done
        assert code == 1
        assert err.startswith(
            "tfx-irm: Trainer failed: The replica workerpool0-0 exited with a non-zero"
            " status of 1; its log: Vertex AI, https://console.cloud.google.com/"
        )

    def test_a_cancelled_one(self, submit, project, vertex):
        vertex.answers = [vertex.state("CANCELLED")]
        submit()
        assert project.done[0] == 1
        assert "the job was cancelled" in project.done[2]


class TestTheServiceSaysNo:
    @pytest.mark.parametrize(
        ("status", "said", "code", "mend"),
        [
            (
                403,
                "denied on resource",
                1,
                "roles/iam.serviceAccountUser on trainer@a-",
            ),
            (429, "Quota exceeded", 1, "ask for more quota of project a-project"),
            (404, "no such location", 2, "check vertex.project (a-project)"),
            (400, "image is unknown", 2, "mend the section vertex"),
            (409, "it is there", 1, "docs/vertex.md"),
        ],
    )
    def test_to_the_job(self, submit, project, vertex, status, said, code, mend):
        vertex.on_create = [(status, said)]
        assert submit() is None
        found, _, err = project.done
        assert found == code
        assert len(err.splitlines()) == 1
        assert f"Vertex AI says: {said}; " in err
        assert mend in err
        assert project.summary["error"]["exit"] == code

    def test_to_who_looks(self, submit, project, vertex):
        vertex.answers = [vertex.state("RUNNING"), (403, "no aiplatform.get")]
        submit()
        assert project.done[0] == 1
        assert "Vertex AI says: no aiplatform.get" in project.done[2]

    def test_credentials_that_are_none(self, submit, project, monkeypatch, tmp_path):
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none"))
        assert submit() is None
        code, _, err = project.done
        assert code == 1
        assert "Vertex AI needs credentials" in err
        assert "gcloud auth application-default login" in err

    def test_credentials_that_are_not_valid(self, submit, project, vertex):
        vertex.token = "another"
        assert submit() is None
        assert project.done[0] == 1
        assert "gcloud auth application-default login" in project.done[2]

    def test_an_endpoint_that_would_send_the_token_in_the_clear(
        self, submit, project, monkeypatch
    ):
        monkeypatch.setenv(vertex_service.ENDPOINT, "http://example.com")
        assert submit() is None
        assert project.done[0] == 2
        assert "https://" in project.done[2]


class TestTheServiceIsSilent:
    @pytest.mark.parametrize("bad", [stubs.DROP, 503, 500, b"<html>a proxy</html>"])
    def test_a_few_looks_that_fail_are_nothing(
        self, submit, project, vertex, leaves, bad
    ):
        running = vertex.state("RUNNING", vertex.task("SourceManifest", "SUCCEEDED", 1))
        vertex.answers = [running, bad, bad, running, bad, succeeded(vertex)]
        submit()
        code, out, _ = project.done
        assert code == 0
        assert out.count("SourceManifest ") == 1

    def test_many_end_it_with_how_to_look(self, submit, project, vertex, monkeypatch):
        vertex.answers = [vertex.state("RUNNING"), stubs.DROP]
        submit()
        code, _, err = project.done
        assert code == 1
        assert "Vertex AI does not answer" in err
        run = project.runs[-1].name
        assert f"tfx-irm submit {project.config} --follow {run}" in err

    def test_one_that_never_answers(self, submit, project, vertex, monkeypatch):
        monkeypatch.setattr(vertex_service, "SECONDS", 0.3)
        vertex.answers = [vertex.state("RUNNING"), stubs.HANG]
        submit()
        assert project.done[0] == 1
        assert "Vertex AI does not answer" in project.done[2]

    def test_the_job_is_sent_again_and_is_one(self, submit, project, vertex, leaves):
        vertex.on_create = [stubs.DROP, 503]
        vertex.answers = [succeeded(vertex)]
        submit()
        assert project.done[0] == 0
        assert len(vertex.created) == 1
        assert len(vertex.asked("POST", "/pipelineJobs")) == 3

    def test_one_that_was_taken_without_a_word_is_found(
        self, submit, project, vertex, leaves
    ):
        vertex.on_create = ["take, then drop"]
        vertex.answers = [succeeded(vertex)]
        submit()
        assert project.done[0] == 0
        assert len(vertex.created) == 1

    def test_nothing_answers_to_the_job(self, submit, project, vertex):
        vertex.on_create = [stubs.DROP] * 5
        assert submit() is None
        assert project.done[0] == 1
        assert "Vertex AI does not answer" in project.done[2]


class TestFollow:
    def test_later(self, submit, project, vertex, leaves):
        submit("--no-follow")
        code, out, _ = project.done
        assert code == 0
        (folder,) = project.runs
        assert f"--follow {folder.name}" in out
        assert not (folder / "summary.json").exists()
        vertex.answers = [succeeded(vertex)]
        submit("--follow", folder.name)
        assert project.done[0] == 0
        assert len(vertex.created) == 1
        assert project.summary["verdict"] == "PASS"
        assert [s["name"] for s in project.summary["stages"]] == list(STAGES)

    def test_what_was_never_sent(self, submit, project):
        assert submit("--follow", "20240301-120000-000000") is None
        assert project.done[0] == 2
        assert "is no run that was sent from here" in project.done[2]

    def test_with_what_changes_nothing(self, submit, project):
        submit("--follow", "x", "--method", "irm_v1")
        assert project.done[0] == 2
        assert "--follow sends nothing" in project.done[2]

    def test_an_interruption_leaves_the_job_alone(self, submit, project, vertex):
        def interrupt():
            raise KeyboardInterrupt

        vertex.answers = [vertex.state("RUNNING")]
        import pipeline.following as module

        before, module.time.sleep = module.time.sleep, lambda seconds: interrupt()
        try:
            submit()
        finally:
            module.time.sleep = before
        code, out, err = project.done
        assert code == 130
        assert err == "tfx-irm: interrupted\n"
        assert "no longer followed; the job goes on:\nhttps://console.cloud" in out
        assert f"--follow {project.runs[-1].name}" in out
        assert not vertex.asked("POST", ":cancel")
        assert "interrupted; the same command" not in out
