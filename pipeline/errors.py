"""Errors of configuration."""


class ConfigError(Exception):
    """The config or the command's arguments are wrong (exit 2).

    `str(error)` is one sentence that names the file and the key, what was found, and
    the mend.
    """

    exit_code = 2
