"""Matplotlib's SVG made fit to stand in an HTML page.

Matplotlib writes a file of its own: a style for every element of the page it lands in,
ids that collide with the next plot's, sizes in points. Here a plot becomes one `<svg>`
that scales, has a text for who cannot see it, and touches nothing else.
"""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from xml.etree import ElementTree

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from components.pages import printable

_SVG = "http://www.w3.org/2000/svg"
_LINK = "{http://www.w3.org/1999/xlink}href"
WIDTH = 400
GRID = "#e3e7ec"
_UNIT = 72  # Matplotlib's SVG has 72 units an inch; one unit is our pixel
_DIGITS = re.compile(r"-?\d+\.\d{3,}")
_REFERENCE = re.compile(r"#([\w-]+)")
_FAMILY = re.compile(r"font-family:[^;]*;? ?")
_FONT = re.compile(r"font: (?:(\w+) )?([\d.]+px) [^;]*")

_STYLE = {
    "axes.edgecolor": "#8a929c",
    "axes.labelcolor": "#4b5563",
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": "sans-serif",
    "font.size": 11,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "tfx-irm",
    "text.color": "#1f2933",
    "text.parse_math": False,  # a `$` in a slice's name is a `$`
    "xtick.color": "#4b5563",
    "xtick.labelsize": 10,
    "ytick.color": "#1f2933",
    "ytick.labelsize": 10.5,
}


@contextmanager
def styled() -> Iterator[None]:
    """Our style, whatever the process has set; make figures and axes inside."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def figure(width: float, height: float) -> Figure:
    """An empty figure of a size in pixels, tied to no window."""
    made = Figure(figsize=(width / _UNIT, height / _UNIT), facecolor="none")
    FigureCanvasSVG(made)
    return made


def shortened(text: str, most: int) -> str:
    """Text of at most so many characters, its middle left out."""
    text = printable(text)
    if len(text) <= most:
        return text
    head = (most - 1) * 2 // 3
    return f"{text[:head]}…{text[head + 1 - most :]}"


def plain(value: float, position: float | None = None) -> str:
    """A tick's label; Matplotlib's own would be mathematical markup."""
    del position
    text = f"{value:.3g}"
    return text if "e" in text else text.replace("-", "−")


def to_svg(made: Figure, label: str, prefix: str) -> str:
    """The figure as an `<svg>` element.

    Args:
      made: of `figure`.
      label: what it shows, for who cannot see it; any text.
      prefix: of its ids, unique in the page.

    Returns:
      Markup; every text in it is escaped.
    """
    buffer = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with warnings.catch_warnings():
        # The browser has the font, and only the browser draws.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        made.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    root = ElementTree.fromstring(text[text.index("<svg") :])
    _clean(root, prefix)
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.set("role", "img")
    root.set("aria-label", printable(label))
    _strip_namespace(root)
    return ElementTree.tostring(root, encoding="unicode")


def _clean(root: ElementTree.Element, prefix: str) -> None:
    used = set()
    for element in root.iter():
        for name in (_LINK, "clip-path"):
            used.update(_REFERENCE.findall(element.get(name, "")))
    for parent in root.iter():
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
    for element in root.iter():
        if element.get("id") in used:
            element.set("id", f"{prefix}-{element.get('id')}")
        else:
            element.attrib.pop("id", None)
        target = element.attrib.pop(_LINK, None)
        if target:
            element.set("href", f"#{prefix}-{target[1:]}")
        clip = element.get("clip-path")
        if clip:
            element.set("clip-path", _REFERENCE.sub(rf"#{prefix}-\1", clip))
        if element.get("transform", "").startswith("rotate(-0 "):
            del element.attrib["transform"]
        if element.tag == f"{{{_SVG}}}text":
            element.set("style", _without_font(element.get("style", "")))
        else:
            element.text = None  # only white space
        element.tail = None
        for name in ("d", "x", "y", "transform", "width", "height", "points"):
            if name in element.attrib:
                element.set(name, _DIGITS.sub(_round, element.attrib[name]))


def _without_font(style: str) -> str:
    """The page's font, not Matplotlib's; size and weight stay."""
    style = _FAMILY.sub("", style)
    return _FONT.sub(
        lambda m: f"font-weight: {m[1] or 400}; font-size: {m[2]}",
        style,
    )


def _round(match: re.Match) -> str:
    return f"{float(match.group()):.2f}".rstrip("0").rstrip(".")


def _strip_namespace(root: ElementTree.Element) -> None:
    """HTML gives `<svg>` its namespace; without it tags need no prefix."""
    for element in root.iter():
        element.tag = element.tag.removeprefix(f"{{{_SVG}}}")
