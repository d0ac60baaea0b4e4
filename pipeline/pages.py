"""Our HTML pages: one look, every text escaped."""

from typing import Any

import jinja2

from components.invariance_validator import svg


def render(template: str, **values: Any) -> str:
    """A page.

    Args:
      template: file in this package; it extends `page.html.j2`.
      values: what it names.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline", ""),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda v: svg.printable(v) if type(v) is str else v,
    )
    return environment.get_template(template).render(**values)
