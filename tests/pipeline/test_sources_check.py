"""What the data must have: each mistake with its sentence, no TensorFlow imported."""

import gzip
import os
import pathlib
import subprocess
import sys

import pyarrow as pa
import pytest

from components.errors import DataError
from pipeline import sources_check
from pipeline.config_io import load_config
from pipeline.errors import ConfigError

from_root = pathlib.Path(__file__).parents[2]
WIDE = ["arr_delay", "carrier", "dep_delay", "distance", "month", "origin"]


def check(project):
    return sources_check.check(load_config(str(project.config)))


def refused(project, kind=ConfigError):
    with pytest.raises(kind) as error:
        check(project)
    text = str(error.value)
    assert "\n" not in text
    return text


def rows(project, **columns):
    """The project's columns with some replaced, or left out where None."""
    import pyarrow.parquet as pa_parquet

    table = pa_parquet.read_table(project.folder / "data" / "ewr.parquet")
    found = {**table.to_pydict(), **columns}
    return {name: values for name, values in found.items() if values is not None}


def test_finds_the_sources(project):
    findings = check(project)
    assert findings.columns == tuple(WIDE)
    assert [(s.environment, s.format, len(s.files)) for s in findings.sources] == [
        ("EWR", "parquet", 1),
        ("JFK", "csv", 2),
        ("LGA", "tfrecord", 1),
    ]
    assert [s.held_out for s in findings.sources] == [False, False, True]
    folder = project.folder / "data"
    sizes = [sum(os.path.getsize(p) for p in folder.glob("jfk-*"))]
    assert [s.size for s in findings.sources[1:2]] == sizes


def test_checks_are_tried_against_the_environments_and_buckets(project):
    checks = "gap: {auc: {max: 0.05, over: environment}}"
    project.replace("slices: [carrier,", "buckets: {distance: [5]}, slices: [distance,")
    for name, value, said in (
        ("environment", "LGB", "floor.auc.slice names environment 'LGB'"),
        ("distance", "6", "floor.auc.slice names distance '6', which is none of its"),
        ("carrier", "UA", "floor.auc.slice names 'carrier', by which nothing is"),
    ):
        floor = f"floor: {{auc: {{slice: {{{name}: {value}}}, min: 0.6}}}}"
        project.replace(checks, floor)
        assert f"line 21: checks.{said}" in refused(project)
        checks = floor
    project.replace(checks, "floor: {auc: {slice: {distance: 5 and above}, min: 0.6}}")
    check(project)


def test_what_is_held_out_has_something_to_be_compared_with(project):
    project.replace(
        "gap: {auc: {max: 0.05, over: environment}}", "ood_drop: {auc: {max: 0.1}}"
    )
    check(project)
    project.replace(", held_out: true", "")
    assert "checks.ood_drop.auc compares held-out environments" in refused(project)


def test_an_environment_of_several_sources(project):
    frame = rows(project)
    text = "\n".join(
        ";".join(map(str, row)) for row in zip(*frame.values(), strict=True)
    )
    folder = project.config.parent / "data"
    (folder / "more.txt").write_text(text)
    names = f"columns: [{', '.join(frame)}]"
    project.replace(
        "EWR: {parquet: data/ewr.parquet}",
        "EWR: {sources: [{parquet: data/ewr.parquet},"
        f" {{csv: data/more.txt, delimiter: ';', {names}}}]}}",
    )
    found = check(project)
    kinds = [(s.environment, s.format) for s in found.sources]
    assert kinds[:2] == [("EWR", "parquet"), ("EWR", "csv")]
    assert found.columns == tuple(WIDE)


def test_describes_them(project):
    config = load_config(str(project.config))
    text = "\n".join(sources_check.describe(config, sources_check.check(config)))
    for part in (
        "environment EWR",
        "2 csv files",
        "held out",
        "late = arr_delay > 15",
        "v_rex",
        "worst.auc (min 0.65)",
        "1 numeric, 1 categorical",
    ):
        assert part in text


def test_imports_neither_tfx_nor_tensorflow(project):
    code = (
        "import sys; from pipeline.cli import main; "
        f"assert main(['validate', {str(project.config)!r}]) == 0; "
        "bad = {'tfx', 'tensorflow', 'apache_beam', 'tfx_bsl'} & set(sys.modules); "
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=from_root)


class TestFiles:
    @pytest.mark.parametrize(
        ("pattern", "said"),
        [
            (
                "data/ewx.parquet",
                "line 6: data.environments.EWR.parquet is 'data/ewx.parquet', which"
                " matches no file (environment 'EWR', looked in {}/data, which holds"
                " ewr.parquet, jfk-1.csv.gz, jfk-2.csv.gz, lga.tfrecord); did you mean"
                " 'ewr.parquet'?",
            ),
            (
                "dta/ewr.parquet",
                "which matches no file (environment 'EWR', looked in {}, which holds"
                " config.yaml, data); did you mean 'data'?",
            ),
            ("data/2013-*", "which holds ewr.parquet, jfk-1.csv.gz,"),
            ("/no/such/*.parquet", "is '/no/such/*.parquet', which matches no file"),
            ("[data/ewr.parquet, data/x*]", "is 'data/x*', which matches no file"),
        ],
    )
    def test_a_pattern_that_matches_nothing(self, project, pattern, said):
        project.replace("{parquet: data/ewr.parquet}", f"{{parquet: {pattern}}}")
        assert said.format(project.folder) in refused(project)

    def test_a_folder_without_files(self, project):
        (project.folder / "data" / "empty").mkdir()
        project.replace("{parquet: data/ewr.parquet}", "{parquet: data/empty}")
        assert "is 'data/empty', a folder without files (env" in refused(project)

    def test_a_file_of_two_environments(self, project):
        project.replace("csv: data/jfk-*.csv.gz", "parquet: data/*.parquet")
        assert "data/ewr.parquet, which EWR has too" in refused(project)

    @pytest.mark.parametrize("name", ["ewr.parquet", "jfk-1.csv.gz", "lga.tfrecord"])
    @pytest.mark.parametrize("content", [b"", b"\x00\x01\x02 nonsense \xff\xfe" * 40])
    def test_nonsense(self, project, name, content):
        project.file(name, content)
        said = refused(project, DataError)
        assert f"{project.folder}/data/{name} cannot be read as" in said

    @pytest.mark.parametrize("name", ["ewr.parquet", "jfk-1.csv.gz", "lga.tfrecord"])
    def test_truncated(self, project, name):
        path = project.folder / "data" / name
        project.file(name, path.read_bytes()[:-20])
        said = refused(project, DataError)
        assert f"{path} cannot be read as" in said
        assert "truncated" in said

    def test_another_format_than_the_config_says(self, project):
        project.replace("csv: data/jfk-*.csv.gz", "tfrecord: data/jfk-*.csv.gz")
        assert "cannot be read as tfrecord" in refused(project, DataError)

    def test_an_environment_without_rows(self, project):
        table = pa.table(rows(project)).slice(0, 0)
        project.parquet("ewr.parquet", table)
        said = refused(project, DataError)
        assert said.startswith("environment 'EWR' has no rows; check its files")


class TestSpans:
    @pytest.fixture
    def project(self, project):
        for day in ("01", "02", "04"):
            (project.folder / "data" / f"2024-03-{day}").mkdir()
            project.parquet(f"2024-03-{day}/a.parquet", rows(project))
        return project

    def write(self, project, key):
        path = '"data/{YYYY}-{MM}-{DD}/*.parquet"'
        project.replace("data/ewr.parquet}", f"{path}{key}}}")

    @pytest.mark.parametrize(
        ("key", "files", "spans"),
        [
            ("", "1 parquet file", "span 2024-03-04"),
            (", spans: {skip: 1}", "1 parquet file", "span 2024-03-02"),
            (
                ", spans: {to: 2024-03-03}",
                "2 parquet files",
                "spans 2024-03-01 to 2024-03-02",
            ),
            (
                ", spans: {last: 7}",
                "3 parquet files",
                "3 spans from 2024-03-01 to 2024-03-04 (7 asked for)",
            ),
        ],
    )
    def test_are_told(self, project, key, files, spans):
        self.write(project, key)
        config = load_config(str(project.config))
        told = list(sources_check.describe(config, sources_check.check(config)))
        assert files in told[1]
        assert told[1].endswith(f"training, {spans}")
        assert "span" not in told[2]

    def test_none_of_those_wanted(self, project):
        self.write(project, ",\n      spans: {from: 2024-03-05}")
        assert refused(project) == (
            f"{project.config}, line 7: data.environments.EWR.spans wants none of what"
            f" matches '{project.folder}/data/{{YYYY}}-{{MM}}-{{DD}}/*.parquet', which"
            " has 3 spans from 2024-03-01 to 2024-03-04; widen it, or wait for newer"
            " files"
        )

    def test_none_at_all(self, project):
        path = '"data/day-{SPAN}/*"'
        project.replace("data/ewr.parquet}", f"{path}}}")
        said = "line 6: data.environments.EWR.parquet is 'data/day-{SPAN}/*', which"
        assert said in refused(project)

    def test_a_day_in_two_ways(self, project):
        for name in ("7", "07"):
            project.parquet(f"{name}.parquet", rows(project))
        project.replace("data/ewr.parquet}", '"data/{SPAN}.parquet"}')
        assert "span 7 is written both '07' and '7'" in refused(project, DataError)

    def test_mistakes_import_nothing_heavy(self, project):
        self.write(project, ", spans: {last: 0}")
        code = (
            "import sys; from pipeline.cli import main; "
            f"assert main(['validate', {str(project.config)!r}]) == 2; "
            "bad = {'tfx', 'tensorflow', 'apache_beam', 'tfx_bsl', 'pyarrow'}; "
            "assert not bad & set(sys.modules), bad & set(sys.modules)"
        )
        subprocess.run([sys.executable, "-c", code], check=True, cwd=from_root)


class TestColumns:
    def test_the_label_is_in_no_environment(self, project):
        project.replace("from: arr_delay", "from: arr_dealy")
        assert refused(project) == (
            f"{project.config}, line 3: data.label.from is 'arr_dealy', which"
            " environment 'EWR' does not have; did you mean 'arr_delay'?"
        )

    def test_the_label_is_missing_in_the_held_out_environment(self, project):
        project.tfrecord("lga.tfrecord", rows(project, arr_delay=None))
        said = refused(project)
        assert "data.label.from is 'arr_delay', which environment 'LGA'" in said

    def test_a_plain_label_that_is_not_there(self, project):
        project.replace("{name: late, from: arr_delay, above: 15}", "late")
        assert "line 3: data.label is 'late', which environment" in refused(project)

    def test_the_made_label_would_overwrite_a_column(self, project):
        project.replace("name: late", "name: origin")
        said = refused(project)
        assert "the data already has a column 'origin'" in said
        assert said.startswith(f"{project.config}, line 3: data.label")

    def test_the_label_is_text(self, project):
        project.replace("from: arr_delay", "from: origin")
        said = refused(project)
        assert "column 'origin' holds text, and a binary label needs numbers" in said

    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            ("[dep_delay]", "[dep_dealy]", "line 4: data.exclude names the column"),
            ("[month]", "[mnth]", "line 9: data.split.by names the column 'mnth'"),
            ("[distance]", "[distanse]", "line 11: data.features.numeric names the"),
            ("[distance]", "[weekday]", "its columns are arr_delay, carrier, dep_dela"),
            ("categorical: [carrier]", "bucketized: {mont: 3}", "bucketized names the"),
            ("[carrier, [", "[carier, [", "line 18: evaluate.slices names the column"),
            ("exclude: [dep_delay]", "weight: w", "line 4: data.weight names the col"),
        ],
    )
    def test_columns_that_are_not_there(self, project, old, new, said):
        project.replace(old, new)
        assert said in refused(project)

    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            ("[distance]", "[distance, origin]", "names 'origin', a column of text"),
            (
                "evaluate: {",
                "evaluate: {buckets: {carrier: [1]}, ",
                "evaluate.buckets names 'carrier', a column of text",
            ),
            ("[distance]", "[]\n    dense: {origin: 3}", "name it under categorical"),
            ("exclude: [dep_delay]", "weight: origin", "data.weight names 'origin'"),
        ],
    )
    def test_text_where_numbers_are_needed(self, project, old, new, said):
        project.replace(old, new)
        assert said in refused(project)

    def test_lists_are_dense(self, project):
        lists = [[1.0, 2.0]] * 4
        for name in ("ewr.parquet", "lga.parquet"):
            project.parquet(name, rows(project, distance=lists))
        project.parquet("jfk.parquet", rows(project, distance=lists))
        project.replace("csv: data/jfk-*.csv.gz", "parquet: data/jfk.parquet")
        project.replace("tfrecord: data/lga.tfrecord", "parquet: data/lga.parquet")
        said = refused(project)
        assert "data.features.numeric names 'distance', which holds several" in said

    def test_one_schema_here_text_there_numbers(self, project):
        project.parquet("ewr.parquet", rows(project, distance=["a", "b", "c", "d"]))
        said = refused(project, DataError)
        assert "column 'distance' holds text in environment 'EWR'" in said
        assert "give it one type in all environments" in said

    def test_int_and_float_are_one_column(self, project):
        project.parquet("ewr.parquet", rows(project, distance=[1, 2, 3, 4]))
        assert check(project).columns == tuple(WIDE)

    def test_a_column_that_one_environment_lacks(self, project):
        project.parquet("ewr.parquet", rows(project, origin=None))
        said = refused(project, DataError)
        assert "environment 'EWR'" in said
        assert "no column 'origin'" in said

    def test_an_optional_one_may_be_lacking(self, project):
        project.parquet("ewr.parquet", rows(project, origin=None))
        project.replace("  exclude:", "  optional: [origin]\n  exclude:")
        assert check(project).columns == tuple(WIDE)

    def test_a_column_where_the_environment_is_stamped(self, project):
        project.parquet("ewr.parquet", rows(project, environment=["x"] * 4))
        project.csv("jfk-1.csv.gz", rows(project))
        project.csv("jfk-2.csv.gz", rows(project))
        said = refused(project, DataError)
        assert "the data already has a column 'environment'" in said

    def test_a_column_of_a_long_tfrecord_may_still_come(self, project):
        """First records are no proof that a column is not there."""
        from pipeline import tfrecord_columns

        few = rows(project, arr_delay=None)
        many = {name: values * 100 for name, values in few.items()}
        assert len(many["month"]) > tfrecord_columns.RECORDS
        project.tfrecord("lga.tfrecord", many)
        assert check(project).columns == tuple(WIDE)


class TestChecks:
    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            (
                "auc: {min: 0.65}",
                "auc: {min: 1.5}",
                ", line 20: checks.worst.auc.min is 1.5, outside the range of auc",
            ),
            (
                "over: environment}",
                "over: origin}",
                ", line 21: checks.gap.auc.over names 'origin', by which nothing is",
            ),
            (
                "over: environment}",
                "over: environment, split: ood}",
                ", line 21: checks.gap.auc compares environments, but of split ood"
                " there is only LGA; a gap needs two",
            ),
            (
                "min_examples: 200",
                "allow_insufficient: [worst.acu]",
                ", line 22: verdict.allow_insufficient names 'worst.acu'",
            ),
        ],
    )
    def test_that_nothing_could_meet(self, project, old, new, said):
        project.replace(old, new)
        assert refused(project).startswith(f"{project.config}{said}")

    def test_are_judged_before_the_files(self, project):
        project.replace("auc: {min: 0.65}", "auc: {min: 1.5}")
        for path in (project.folder / "data").iterdir():
            path.unlink()
        assert "checks.worst.auc.min" in refused(project)


class TestPlaces:
    def test_a_root_below_a_file(self, project):
        project.replace("name: flights", "name: flights\nroot: config.yaml/runs")
        said = refused(project)
        assert said.startswith(f"{project.config}, line 2: root needs the folder")
        assert "config.yaml is a file" in said

    def test_a_schema_that_is_not_there(self, project):
        project.replace("data:\n", "data:\n  schema: schema.pbtxt\n")
        said = refused(project)
        assert f"line 3: data.schema is {project.folder}/schema.pbtxt, and" in said

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("feature { name: 'distance' type: INT }", "'distance' is INT in the"),
            ("feature { name: 'carrier' type: FLOAT }", "but BYTES in the data"),
            ("feature { name: ", "which is no schema in text form"),
        ],
    )
    def test_a_schema_of_other_types(self, project, text, said):
        project.replace("data:\n", "data:\n  schema: schema.pbtxt\n")
        (project.folder / "schema.pbtxt").write_text(text)
        assert said in refused(project)

    def test_a_model_that_is_not_there(self, project):
        build = "  model: {build: my_own_model.build}\n  steps: 2000"
        project.replace("  steps: 2000", build)
        said = refused(project)
        assert "there is no module 'my_own_model' beside the config" in said

    def test_a_model_beside_the_config(self, project):
        build = "  model: {build: my_own_model.build}\n  steps: 2000"
        project.replace("  steps: 2000", build)
        (project.folder / "my_own_model.py").write_text("import no_such_module")
        path = list(sys.path)
        check(project)
        assert sys.path == path


class TestEnvironmentColumn:
    @pytest.fixture(params=["parquet", "csv"])
    def project(self, project, request):
        name = {"parquet": "ewr.parquet", "csv": "jfk-*.csv.gz"}[request.param]
        column = {request.param: f"data/{name}", "environment_column": "origin"}
        self.write(project, {**column, "held_out": ["LGA"]})
        return project

    def write(self, project, environments):
        label = {"name": "late", "from": "arr_delay", "above": 15}
        project.update(data={"label": label, "environments": environments})

    def test_names_are_read(self, project):
        findings = check(project)
        assert findings.environments == ("EWR", "JFK", "LGA")
        config = load_config(str(project.config))
        text = "\n".join(sources_check.describe(config, findings))
        assert "EWR, JFK, LGA (held out)" in text

    @pytest.mark.parametrize(
        ("more", "names"),
        [
            ({"values": {"city": ["JFK", "LGA"], "Newark": "EWR"}}, "Newark, city"),
            ({"values": {"JFK": "JFK", "EWR": "EWR"}, "held_out": []}, "EWR, JFK"),
        ],
    )
    def test_values_group_and_rename(self, project, more, names):
        self.write(project, {**self.source(project), **more})
        assert ", ".join(check(project).environments) == names

    def test_bins(self, project):
        bins = {"environment_column": "distance", "bins": [150, 350]}
        self.write(project, {**self.source(project), **bins})
        found = check(project)
        assert set(found.environments) == {"below 150", "150 to 350", "350 and above"}
        training = load_config(str(project.config)).data.training
        assert training == ("below 150", "150 to 350", "350 and above")

    @pytest.mark.parametrize(
        ("more", "said"),
        [
            ({"bins": [2, 1]}, "bins are edges that do not rise; sort them"),
            ({"bins": [1], "by": "month"}, "by stands beside bins"),
            ({"values": {"a": ["JFK"], "b": ["JFK"]}}, "has 'JFK' in two environments"),
            (
                {"values": {"a": "EWR", "b": "JFK"}, "held_out": ["c"]},
                "held_out.0 is 'c', and the environments are a, b",
            ),
            ({"by": "week"}, "legal are year, quarter, month, day"),
            (
                {"values": {"a": "EWR", "b": "JFK", "c": "XXX"}},
                "makes 'c' of column 'origin', which has no row of it",
            ),
        ],
    )
    def test_ways_that_are_wrong(self, project, more, said):
        self.write(project, {**self.source(project), **more})
        assert said in refused(project)

    def source(self, project):
        environments = load_config(str(project.config)).data.environments
        source = {environments.entry["format"]: environments.entry["patterns"]}
        return {**source, "environment_column": "origin"}

    def test_a_held_out_name_that_is_not_there(self, project):
        environments = load_config(str(project.config)).data.environments
        source = {environments.entry["format"]: environments.entry["patterns"]}
        column = {"environment_column": "origin", "held_out": ["LGX"]}
        self.write(project, {**source, **column})
        said = refused(project)
        assert "held_out names 'LGX', which column 'origin' does not hold" in said
        assert said.endswith("did you mean 'LGA'?")

    def test_too_few_are_trained_on(self, project):
        environments = load_config(str(project.config)).data.environments
        source = {environments.entry["format"]: environments.entry["patterns"]}
        column = {"environment_column": "origin", "held_out": ["LGA", "EWR"]}
        self.write(project, {**source, **column})
        said = refused(project)
        assert "leaves 1 training environment, and v_rex needs 2" in said

    def test_a_column_that_is_not_there(self, project):
        environments = load_config(str(project.config)).data.environments
        source = {environments.entry["format"]: environments.entry["patterns"]}
        self.write(project, {**source, "environment_column": "orgin"})
        said = refused(project)
        assert "environment_column names the column 'orgin'" in said
        assert said.endswith("did you mean 'origin'?")

    def test_names_of_a_number_column(self, project):
        environments = load_config(str(project.config)).data.environments
        source = {environments.entry["format"]: environments.entry["patterns"]}
        column = {"environment_column": "month", "held_out": 2}
        self.write(project, {**source, **column})
        project.update(train={"method": "erm"}, checks={"worst": {"auc": {"min": 0.6}}})
        assert check(project).environments == ("1", "2")


def test_gzip_is_found_by_its_content(project):
    path = project.folder / "data" / "lga.tfrecord"
    project.file("lga.tfrecord", gzip.compress(path.read_bytes()))
    assert check(project).columns == tuple(WIDE)
