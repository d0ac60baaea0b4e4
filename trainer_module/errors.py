"""What stops a training run, and whose fault it is."""


class SetupError(Exception):
    """The machine, the config or the data can't be trained with (exit 2).

    Raise it with one sentence that says what was found and how to mend it.
    """

    exit_code = 2
