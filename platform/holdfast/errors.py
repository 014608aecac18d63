"""What every error of Holdfast's own begins with."""


class HoldfastError(Exception):
    """Something is not as Holdfast needs it; the text says what, and what to do next.

    The command line prints it as one line, without a traceback, and exits with `exit_code`.
    """

    exit_code = 1


class ConfigError(HoldfastError):
    """The installation is configured in a way that cannot work: fix it and start again."""

    exit_code = 2


class EnvError(ConfigError):
    """One environment variable holds something that cannot work.

    Args:
        variable: its name.
        problem: what is wrong with it, as a sentence without its full stop.
        remedy: what to write instead, as a sentence without its full stop.
    """

    def __init__(self, variable: str, problem: str, remedy: str) -> None:
        super().__init__(variable, problem, remedy)
        self.variable = variable
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.variable}: {self.problem}. {self.remedy}."
