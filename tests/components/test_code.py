"""Digests of source code in cache keys."""

from components import code


def package(path, text="x = 1\n"):
    (path / "inner").mkdir(parents=True)
    (path / "__init__.py").write_text("")
    (path / "inner" / "logic.py").write_text(text)
    (path / "page.html.j2").write_text("<p>")
    return path


def test_same_code_elsewhere_has_the_same_digest(tmp_path):
    first, second = package(tmp_path / "a"), package(tmp_path / "b")
    assert code.fingerprint(str(first)) == code.fingerprint(str(second))


def test_a_changed_module_template_or_extra_file_changes_it(tmp_path):
    folder = package(tmp_path / "a")
    extra = tmp_path / "model.py"
    extra.write_text("y = 1\n")
    seen = {code.fingerprint(str(folder)), code.fingerprint(str(folder), str(extra))}
    extra.write_text("y = 2\n")
    seen.add(code.fingerprint(str(folder), str(extra)))
    (folder / "inner" / "logic.py").write_text("x = 2\n")
    seen.add(code.fingerprint(str(folder)))
    (folder / "page.html.j2").write_text("<b>")
    seen.add(code.fingerprint(str(folder)))
    assert len(seen) == 5


def test_what_is_no_source_does_not_count(tmp_path):
    folder = package(tmp_path / "a")
    before = code.fingerprint(str(folder))
    (folder / "notes.txt").write_text("x")
    assert code.fingerprint(str(folder)) == before


def test_what_components_share_counts_for_each(tmp_path):
    component = package(tmp_path / "one") / "component.py"
    component.write_text("")
    other = package(tmp_path / "two")
    seen = {code.of_component(str(component))}
    for name in ("shared.py", "tables.js"):
        (tmp_path / name).write_text("1")
        seen.add(code.of_component(str(component)))
    assert len(seen) == 3
    (tmp_path / "README.md").write_text("1")
    (other / "inner" / "logic.py").write_text("x = 3\n")
    assert code.of_component(str(component)) in seen
