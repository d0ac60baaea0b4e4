"""A query is pinned by its tables only where these tell all."""

import pytest

from components.bigquery_pins import reason_against

TABLES = {"p.d.t", "p.d.u", "q.e.t"}


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM d.t",
        "select a.b, c.d from `p.d.t` a join `q`.e.`t` c using (x) order by a.b, c.d",
        "SELECT EXTRACT(YEAR FROM day), a-b FROM d.t WHERE x IS DISTINCT FROM z.y, v.w",
        "WITH w AS (SELECT * FROM d.t) SELECT w.a FROM w, UNNEST(w.b) WITH OFFSET o",
        "SELECT '-- d.v, RAND()' FROM d.t -- FROM d.v\n# JOIN d.v\n/* RAND() */",
        "SELECT (SELECT MAX(z.y) FROM d.u z), a.b FROM (d.t a JOIN p.d.u b ON a.x = 1)",
        "SELECT RANK() OVER (PARTITION BY a.b, c.d ORDER BY e.f) rand_ FROM d.t",
        "SELECT * EXCEPT (a, b) FROM d.t UNION ALL SELECT x.a, x.b FROM d.u x",
    ],
)
def test_tables_that_tell_all(text):
    assert reason_against(text, "p", TABLES) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("SELECT rand() FROM d.t", "uses RAND"),
        ("SELECT current_date-1 FROM d.t", "uses CURRENT_DATE"),
        ("SELECT @@session_id FROM d.t", "uses @@SESSION_ID"),
        ("SELECT * FROM d.t TABLESAMPLE SYSTEM (1 PERCENT)", "uses TABLESAMPLE"),
        (
            'CREATE TEMP FUNCTION f() LANGUAGE js AS "..."; SELECT f() FROM d.t',
            "uses CREATE TEMP FUNCTION",
        ),
        ("SELECT * FROM d.f(1)", "reads from the function d.f"),
        ("SELECT * FROM ML.PREDICT(MODEL d.m, TABLE d.t)", "uses ML.PREDICT"),
        ("SELECT * FROM d.t, d.v", "reads from d.v, which may be a view"),
        ("SELECT * FROM (SELECT 1) q, d.v", "reads from d.v, which may be a view"),
        ("SELECT * FROM (d.t a JOIN d.v b)", "reads from d.v, which may be a view"),
        ("SELECT * FROM d.t x JOIN d.v", "reads from d.v, which may be a view"),
        ("SELECT * FROM `d.events_*`", "reads from d.events_*, which may be a view"),
        ("SELECT * FROM e.t", "reads from e.t, which may be a view"),
        ("SELECT 1 FROM UNNEST(a) o, d.v", "reads from d.v, which may be a view"),
        ("SELECT a IN (SELECT b FROM d.v)", "reads from d.v, which may be a view"),
        ("SELECT EXTRACT(DAY FROM a) FROM d.v", "reads from d.v, which may be a view"),
    ],
)
def test_what_may_differ(text, reason):
    assert reason_against(text, "p", TABLES) == reason
