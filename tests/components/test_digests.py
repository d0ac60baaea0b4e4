"""Digests of models and examples, here and in a store."""

import hashlib
import json
import subprocess
import sys

import pytest

from components import digests


def save(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return str(folder)


MODEL = {"saved_model.pb": b"graph", "variables/data": b"weights"}


def test_digest_is_that_of_its_definition(tmp_path):
    """BLAKE2b over the names and the contents' own, in the order of the names."""
    whole = hashlib.blake2b(digest_size=16)
    for name in sorted(MODEL):
        content = hashlib.blake2b(MODEL[name], digest_size=16).digest()
        whole.update(name.encode() + b"\0" + content)
    assert digests.of_model(save(tmp_path / "m", MODEL)) == whole.hexdigest()


@pytest.mark.parametrize(
    "other",
    [
        {**MODEL, "variables/data": b"weightz"},
        {**MODEL, "more": b""},
        {"saved_model.pb": b"graph", "variables/date": b"weights"},
        {"saved_model.pb": b"graph"},
        {"saved_model.pb": b"weights", "variables/data": b"graph"},
        {**MODEL, "release.json": b"{}"},
        {**MODEL, "assets.extra/tf_serving_warmup_requests": b"{}"},
    ],
)
def test_every_name_and_byte_counts(tmp_path, other):
    one = digests.of_model(save(tmp_path / "a", MODEL))
    assert digests.of_model(save(tmp_path / "b", other)) != one


def test_what_a_release_tells_of_a_model_is_no_part_of_it(tmp_path):
    told = {**MODEL, "assets.extra/release.json": b"{}"}
    one = digests.of_model(save(tmp_path / "a", MODEL))
    assert digests.of_model(save(tmp_path / "b", told)) == one


def test_a_store_and_this_machine_give_the_same(tmp_path):
    import tensorflow as tf

    for name, content in MODEL.items():
        path = f"ram://digests/model/{name}"
        tf.io.gfile.makedirs(path.rpartition("/")[0])
        with tf.io.gfile.GFile(path, "wb") as file:
            file.write(content)
    here = digests.of_model(save(tmp_path / "m", MODEL))
    assert digests.of_model("ram://digests/model") == here


def test_examples_by_content_and_counts(tmp_path):
    paths = {}
    for split in ("eval", "ood"):
        (tmp_path / split).write_text(split)
        paths[f"Split-{split}/data.gz"] = str(tmp_path / split)
    one = digests.of_examples(paths, "{}")
    assert digests.is_digest(one)
    assert digests.of_examples(dict(reversed(paths.items())), "{}") == one
    assert digests.of_examples(paths, '{"a": 1}') != one
    (tmp_path / "ood").write_text("doo")  # as long as before
    assert digests.of_examples(paths, "{}") != one


def test_settings_by_value():
    one = digests.of_settings({"a": [1, 2], "b": {"c": 0.5, "d": None}})
    assert one == digests.of_settings(json.loads('{"b":{"d":null,"c":0.5},"a":[1,2]}'))
    assert one != digests.of_settings({"a": [2, 1], "b": {"c": 0.5, "d": None}})
    with pytest.raises(ValueError, match="JSON compliant"):
        digests.of_settings({"a": float("nan")})


@pytest.mark.parametrize("text", ["", "0" * 31, "0" * 33, "A" * 32, "g" * 32, None, 5])
def test_what_is_no_digest(text):
    assert not digests.is_digest(text)


def test_a_folder_of_this_machine_needs_no_tfx(tmp_path):
    """A command that only looks into one would wait seconds for it."""
    code = (
        "import sys; from components import digests; "
        f"digests.of_model({save(tmp_path / 'm', MODEL)!r}); "
        "assert not {'tfx', 'tensorflow', 'apache_beam'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
