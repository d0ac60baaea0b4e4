"""The config's keys `task` and `data.label`: what is forecast."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from pipeline.config_types import Column, Section, problem, short

ENVIRONMENT = "environment"
MOST_CLASSES = 10_000
Task = Literal["binary", "multiclass", "regression"]


def _class_names(value: Any) -> Any:
    """Texts as they are; whole numbers, and how many of them, as text."""
    if isinstance(value, int) and not isinstance(value, bool):
        if not 2 <= value <= MOST_CLASSES:
            raise ValueError(
                f"is {value}; expected 2 to {MOST_CLASSES:,} classes, or a list of"
                " their values"
            )
        return tuple(str(i) for i in range(value))
    if not isinstance(value, list | tuple):
        raise ValueError(
            f"is {short(value)}; list the values as they stand in the data, in the"
            " order of their ids, or write how many there are where they are whole"
            " numbers from 0 on"
        )
    names: list[str] = []
    for i, item in enumerate(value):
        is_number = isinstance(item, int) and not isinstance(item, bool)
        if not isinstance(item, str) and not is_number:
            raise problem([i], f"is {short(item)}; expected text, so quote it")
        if not str(item).strip():
            raise problem([i], "is empty; an empty label counts as missing")
        if str(item) in names:
            raise problem([i], f"is {str(item)!r} again; list each class once")
        names.append(str(item))
    if len(names) < 2:
        raise ValueError(f"lists {len(names)}; give two classes or more")
    return tuple(names)


class Label(Section):
    """What is forecast: a column of 0 and 1, a number above a threshold, or as it is.

    With `task: multiclass` a value of `classes`; with `task: regression` a number.
    """

    name: Column
    from_column: Column | None = Field(default=None, alias="from")
    above: float | None = None
    classes: (
        Annotated[
            tuple[str, ...],
            BeforeValidator(
                _class_names,
                json_schema_input_type=Annotated[int, Field(ge=2, le=MOST_CLASSES)]
                | Annotated[
                    list[Annotated[str, Field(min_length=1)] | int],
                    Field(min_length=2),
                ],
            ),
        ]
        | None
    ) = Field(default=None, examples=["[cat, dog, bird]"])

    @model_validator(mode="after")
    def _whole(self) -> "Label":
        if self.above is not None and self.from_column is None:
            raise problem(
                ["above"],
                "has no `from` beside it; name the column that is compared with"
                f" {self.above:g}",
            )
        if self.from_column == self.name:
            raise problem(
                ["name"],
                f"is {self.name!r}, the column that it is made from; give the label a"
                " name of its own",
            )
        if self.name == ENVIRONMENT:
            raise problem(
                ["name"],
                f"is {ENVIRONMENT!r}, where every example's environment stands",
            )
        return self

    def check_task(self, task: Task) -> None:
        """Refuses what a label of this task cannot have, or must.

        Raises:
          PydanticCustomError: at the key below the whole config.
        """
        place = ["data", "label"]
        if self.above is not None and task != "binary":
            mend = "list the classes" if task == "multiclass" else "forecast the number"
            raise problem(
                [*place, "above"],
                f"makes a label of 0 and 1, and task is {task}; remove it, and {mend},"
                " or write task: binary",
            )
        if self.classes is not None and task != "multiclass":
            raise problem(
                [*place, "classes"],
                f"lists classes, and task is {task}; remove it, or write task:"
                " multiclass",
            )
        if self.classes is None and task == "multiclass":
            raise problem(
                place,
                f"has no classes, and task is multiclass; write {{name: {self.name},"
                " classes: [...]}, the values as they stand in the data, or classes:"
                " 10 for whole numbers from 0 to 9",
            )
        if task == "binary" and self.from_column is not None and self.above is None:
            raise problem(
                [*place, "from"],
                "has no `above` beside it; say above which value the label is 1, or"
                f" write `label: {self.from_column}` where the column holds 0 and 1",
            )

    def spec(self, task: Task) -> dict[str, Any]:
        """As `components.multi_env_example_gen.labels` takes it."""
        given: dict[str, Any] = {
            "from": self.from_column,
            "above": self.above,
            "classes": None if self.classes is None else list(self.classes),
            "task": task if task == "regression" else None,
        }
        known = {key: value for key, value in given.items() if value is not None}
        return {"name": self.name, **known}

    @property
    def column(self) -> str:
        """The column of the data that it is, or is made from."""
        return self.from_column or self.name


def as_label(value: Any) -> Any:
    """A column's name as the label of that name."""
    if value is None:
        raise ValueError("is empty; name the column that is forecast")
    return {"name": value} if isinstance(value, str) else value
