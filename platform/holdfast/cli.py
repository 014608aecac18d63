"""The command line: Django's, with errors of configuration said in one line and exit code 2.

`manage.py`, the installed `holdfast` script and `python -m holdfast` are the same.
"""

import argparse
import gc
import os
import signal
import sys
from collections.abc import Sequence

from holdfast.errors import ConfigError, HoldfastError

# Commands that never ask a server. Everything else is refused early where there is none.
SERVERLESS = frozenset(
    {
        "check",
        "collectstatic",
        "diffsettings",
        "findstatic",
        "help",
        "makemessages",
        "makemigrations",
        "up",
        "version",
    }
)
NO_SERVERS = (
    "There is no database: no `manage.py up` is alive on the data folder {folder}. "
    "Start one, name its folder with --data-dir or in HOLDFAST_DATA_DIR, or set DATABASE_URL and REDIS_URL."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the command line; the process's own unless given.

    Returns:
        The exit code: 2 where the configuration cannot work.
    """
    arguments = list(sys.argv if argv is None else argv)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "holdfast.settings")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # where task modules of HOLDFAST_TASKS may lie
    try:
        _execute(arguments)
    except HoldfastError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return 0


def add_up_options(parser: argparse.ArgumentParser) -> None:
    """The options of `up` that stand for an environment variable: they must be known before the settings load."""
    parser.add_argument("--data-dir", metavar="FOLDER", help="The data folder (HOLDFAST_DATA_DIR).")
    parser.add_argument(
        "--tasks",
        action="append",
        metavar="MODULE|FILE",
        help="A module or file with tasks; may be repeated (HOLDFAST_TASKS).",
    )
    parser.add_argument("--no-demo", action="store_true", help="Without the demo tasks (HOLDFAST_DEMO=0).")


def _execute(arguments: list[str]) -> None:
    from django.core.management import execute_from_command_line
    from django.db.utils import OperationalError
    from redis.exceptions import ConnectionError as RedisConnectionError

    command = arguments[1] if len(arguments) > 1 else "help"
    if command == "up":
        _apply_up_options(arguments[2:])
    else:
        arguments = _apply_data_dir(arguments)
    from django.conf import settings

    wants_help = command.startswith("-") or not {"-h", "--help"}.isdisjoint(arguments)
    if settings.HOLDFAST_SERVERS == "none" and command not in SERVERLESS and not wants_help:
        raise ConfigError(NO_SERVERS.format(folder=settings.HOLDFAST_DATA_DIR))
    try:
        _load(command)
        execute_from_command_line(arguments)
    except OperationalError as error:
        raise _unreachable(error) from error
    except RedisConnectionError as error:
        first = str(error).splitlines()[0].rstrip(".")
        raise ConfigError(f"REDIS_URL: the server does not answer ({first}). Start it, or correct the URL.") from error


def _load(command: str) -> None:
    """Loads Django and the command without Python's collector, which would walk through all that has been loaded so far
    again and again; what is loaded stays, so it need not look at it later either."""
    import django
    from django.core.management import get_commands, load_command_class

    gc.disable()
    try:
        django.setup()
        if app := get_commands().get(command):
            load_command_class(app, command)
    finally:
        gc.freeze()
        gc.enable()


def _apply_up_options(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    add_up_options(parser)
    try:
        options, _ = parser.parse_known_args(arguments)
    except argparse.ArgumentError:
        return  # the command's own parser will say it
    if options.data_dir:
        os.environ["HOLDFAST_DATA_DIR"] = options.data_dir
    if options.tasks:
        os.environ["HOLDFAST_TASKS"] = ",".join(options.tasks)
    if options.no_demo:
        os.environ["HOLDFAST_DEMO"] = "0"


def _apply_data_dir(arguments: list[str]) -> list[str]:
    """Any command may be told of whose `up` it is to use the servers. Returns the arguments that are left: Django knows
    nothing of that option."""
    name, kept = "--data-dir", list(arguments)
    end = kept.index("--") if "--" in kept else len(kept)
    for place, word in enumerate(kept[:end]):
        option, equals, folder = word.partition("=")
        if option != name:
            continue
        if not equals:
            folder = "".join(kept[place + 1 : end][:1])
        if not folder:
            raise ConfigError(f"{name}: the folder is missing. Write {name} FOLDER.")
        os.environ["HOLDFAST_DATA_DIR"] = folder
        del kept[place : place + (1 if equals else 2)]
        break
    return kept


def _unreachable(error: Exception) -> Exception:
    """A database that cannot be reached is said in one line; any other database error stays what it is."""
    from holdfast.probe import describe

    said = describe(error.__cause__)
    return error if said is None else ConfigError(f"DATABASE_URL: {said}")
