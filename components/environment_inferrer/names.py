"""Names of inferred environments."""


def inferred_names(number: int) -> tuple[str, ...]:
    """`inferred-1`, `inferred-2`, ...: the largest first.

    Of EIIL, 1 is where the reference model is right, 2 where it is wrong. Sizes are
    those in the sample that the rule is fitted on.
    """
    return tuple(f"inferred-{i}" for i in range(1, number + 1))
