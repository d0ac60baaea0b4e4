"""The config's section `monitor`: what a stream is held to besides the checks."""

from typing import Annotated

from pydantic import Field

from pipeline.config_types import Section

_Share = Annotated[float, Field(gt=0, lt=1)]


class Monitor(Section):
    """What `tfx-irm monitor` looks at besides `checks`, by environment; null: not.

    calibration: how far mean label and mean prediction may be apart (of several
    classes, accuracy and mean confidence). score_shift: how far the mean score, and the
    share of scores below three quantiles, may be from those of the released evaluation;
    needs no label. missing: the largest share of missing values of a column that the
    model takes; needs no label.
    """

    calibration: _Share | None = 0.1
    score_shift: _Share | None = 0.1
    missing: _Share | None = None
