"""Whether the tables that a query names tell all that its result hangs on.

The digest of a query is that of its text and of its tables' last changes. That is
enough only where the text calls nothing that differs from run to run, and where every
name that it reads from is one of these tables: a view or a function may change, and its
text is not to be had with the query. Wherever this is not sure, the answer is no.
"""

import re
from collections.abc import Collection

_DIFFERS = re.compile(
    r"\b(?:CURRENT_(?:DATE|DATETIME|TIME|TIMESTAMP)|RAND|GENERATE_UUID|SESSION_USER"
    r"|TABLESAMPLE|EXTERNAL_QUERY|CREATE\s+TEMP\w*\s+FUNCTION"
    r"|(?:AEAD|AI|KEYS|ML)\s*\.\s*\w+)\b|@@\w+",
    re.IGNORECASE,
)
_NOISE = re.compile(
    r"--[^\n]*|#[^\n]*|/\*.*?\*/|'''.*?'''|\"\"\".*?\"\"\""
    r"|'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|(?P<name>`[^`]*`)",
    re.DOTALL,
)
_PART = r"(?:`[^`]*`|[^\W\d][\w-]*)"
_TOKEN = re.compile(rf"{_PART}(?:\s*\.\s*(?:`[^`]*`|[\w*-]+))*|[(),]")
# After these no comma stands before a table, up to the next FROM.
_ENDS = {"SELECT", "WHERE", "GROUP", "HAVING", "QUALIFY", "WINDOW", "ORDER", "LIMIT"}
_ENDS |= {"UNION", "INTERSECT", "EXCEPT"}


def reason_against(text: str, project: str, tables: Collection[str]) -> str | None:
    """Why a query cannot be pinned by its tables; None where it can.

    Args:
      text: in GoogleSQL.
      project: of names that say none.
      tables: those that it reads, as `project.dataset.table`.

    Returns:
      Goes on after "it": "uses RAND".
    """
    plain = _NOISE.sub(lambda match: match["name"] or " ", text)
    if differs := _DIFFERS.search(plain):
        return f"uses {' '.join(differs.group().upper().split())}"
    for path, is_call in _read_from(plain):
        name = path.replace("`", "")
        if is_call:
            return f"reads from the function {name}"
        if "." in name and not {name, f"{project}.{name}"} & set(tables):
            return f"reads from {name}, which may be a view"
    return None


def _read_from(text: str) -> list[tuple[str, bool]]:
    """What stands after FROM and JOIN and the commas there, and whether it is called.

    A name of one part is that of a WITH: no query here has a dataset by default.
    """
    tokens = [re.sub(r"\s+", "", found) for found in _TOKEN.findall(text)]
    found = []
    wanted, inside = False, [False]  # a table comes next; within FROM, by brackets
    for i, token in enumerate(tokens):
        word, before = token.upper(), tokens[i - 1].upper() if i else ""
        if word == "(":
            inside.append(wanted)
        elif word == ")":
            wanted = False
            inside = inside[:-1] or [False]
        elif word in ("FROM", "JOIN"):
            # `EXTRACT(YEAR FROM day)` and `a IS DISTINCT FROM b` read from nothing.
            opener = tokens[i - 3].upper() if i > 2 and tokens[i - 2] == "(" else ""
            wanted = before != "DISTINCT" and opener != "EXTRACT"
            inside[-1] = inside[-1] or wanted
        elif word == ",":
            wanted = inside[-1]
        elif word in _ENDS or word == "WITH":
            wanted = False
            inside[-1] = inside[-1] and word == "WITH"  # `UNNEST(a) WITH OFFSET`
        elif wanted:
            wanted = False
            if word != "UNNEST":
                found.append((token, tokens[i + 1 : i + 2] == ["("]))
    return found
