"""Our HTML pages: one look, every text escaped."""

import os
from typing import Any

from components import pages


def render(template: str, **values: Any) -> str:
    """A page.

    Args:
      template: file in this package; it extends `page.html.j2`.
      values: what it names.
    """
    environment = pages.environment(os.path.dirname(os.path.abspath(__file__)))
    return environment.get_template(template).render(**values)
