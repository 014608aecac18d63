"""The environment, typed and checked: the only module that reads `os.environ` for configuration.

`load()` raises `EnvError`, which names the variable, what is wrong with it and what to write instead. It looks at
text and at the file system; whether a server answers is asked by whoever needs that server.
"""

import getpass
import os
import re
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parseaddr
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, quote, unquote, urlsplit

import platformdirs
import psycopg.conninfo
import redis.connection

from holdfast.errors import EnvError

MEBIBYTE: Final = 1024 * 1024
MAX_PAYLOAD_LIMIT: Final = 64 * MEBIBYTE
MIN_SECRET_LENGTH: Final = 32
LOCAL_HOSTS: Final = ("localhost", "127.0.0.1", "[::1]")

_POSTGRES_EXAMPLE = "Write postgresql://user:password@host:5432/database"
_REDIS_EXAMPLE = "Write redis://:password@host:6379/0, rediss://… for TLS, or unix:///path/to/socket?db=0"
_MAIL_EXAMPLE = "Write smtp+tls://user:password@host:587, smtps://user:password@host for TLS at once, or smtp://host"
_MAIL_PORTS: Final = {"smtp": 25, "smtp+tls": 587, "smtps": 465}
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_HOST = re.compile(r"\*|\.?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]")
_REDACTED = re.compile(r"[\w-]+(\.[\w-]+)*")
#: Names whose values are shown to nobody, unless HOLDFAST_REDACT says otherwise.
REDACTED: Final = (
    "password", "passwd", "secret", "client_secret", "api_key", "apikey", "access_token", "refresh_token",
    "authorization", "private_key",
)  # fmt: skip
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Database:
    """Where PostgreSQL is, taken apart for Django.

    `options` are libpq's own (`sslmode`, `connect_timeout`, …).
    """

    name: str
    user: str = ""
    password: str = field(default="", repr=False)
    host: str = ""
    port: str = ""
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Mail:
    """The server that takes mail. Without a host messages are written to the console."""

    host: str = ""
    port: int = 25
    user: str = ""
    password: str = field(default="", repr=False)
    starttls: bool = False
    tls: bool = False  # from the first byte


@dataclass(frozen=True, slots=True)
class Env:
    """The environment of this process, checked. Texts that carry passwords stay out of its repr."""

    data_dir: Path
    database_url: str | None = field(default=None, repr=False)
    redis_url: str | None = field(default=None, repr=False)
    tasks: tuple[str, ...] = ()
    secret_key: str | None = field(default=None, repr=False)
    allowed_hosts: tuple[str, ...] = LOCAL_HOSTS
    public_url: str | None = None
    demo: bool = True
    debug: bool = False
    payload_limit: int = MEBIBYTE
    grace: float = 20.0  # seconds that a worker may go on after SIGTERM
    heartbeat_timeout: float = 15.0  # seconds without a beat after which a worker counts as dead
    concurrency: int = 1000  # coroutines at once in one worker
    threads: int = 32  # threads at once in one worker
    processes: int = field(default_factory=lambda: _cores())  # isolated runs at once in one worker
    host: str = field(default_factory=socket.gethostname)  # where this worker is, for local steps
    host_grace: float = 60.0  # seconds without a worker there after which a host is given up
    webhook_retention: float = 2_592_000.0  # seconds that deliveries of webhooks are kept
    stuck_floor: float = 60.0  # seconds of silence that no run is called stuck for
    middleware: tuple[str, ...] = ()  # dotted paths, the outermost first
    redact: tuple[str, ...] = REDACTED  # names of values in JSON that are shown to nobody
    mail: Mail | None = None
    mail_from: str = "holdfast@localhost"


def load(environ: Mapping[str, str] | None = None) -> Env:
    """Read and check the environment.

    Args:
        environ: variables to read instead of the process's own.

    Raises:
        EnvError: a variable cannot work; it names which, why, and what to write.
    """
    env = os.environ if environ is None else environ

    def text(name: str) -> str | None:
        return env.get(name, "").strip() or None

    database_url, redis_url = text("DATABASE_URL"), text("REDIS_URL")
    if database_url:
        parse_database_url(database_url)
    if redis_url:
        check_redis_url(redis_url)
    _both_or_none(database_url, redis_url)
    debug = _flag("HOLDFAST_DEBUG", text("HOLDFAST_DEBUG"), default=False)
    return Env(
        data_dir=_data_dir(text("HOLDFAST_DATA_DIR")),
        database_url=database_url,
        redis_url=redis_url,
        tasks=_tasks(text("HOLDFAST_TASKS")),
        secret_key=_secret_key(text("HOLDFAST_SECRET_KEY")),
        allowed_hosts=_hosts(text("HOLDFAST_ALLOWED_HOSTS")),
        public_url=_public_url(text("HOLDFAST_PUBLIC_URL")),
        demo=_flag("HOLDFAST_DEMO", text("HOLDFAST_DEMO"), default=True),
        debug=debug,
        payload_limit=_payload_limit(text("HOLDFAST_PAYLOAD_LIMIT")),
        grace=_seconds("HOLDFAST_GRACE", text("HOLDFAST_GRACE"), 0, 3_600, default=20.0),
        heartbeat_timeout=_seconds(
            "HOLDFAST_HEARTBEAT_TIMEOUT", text("HOLDFAST_HEARTBEAT_TIMEOUT"), 5, 3_600, default=15.0
        ),
        concurrency=_count("HOLDFAST_CONCURRENCY", text("HOLDFAST_CONCURRENCY"), 100_000, default=1000),
        threads=_count("HOLDFAST_THREADS", text("HOLDFAST_THREADS"), 1_000, default=32),
        processes=_count("HOLDFAST_PROCESSES", text("HOLDFAST_PROCESSES"), 1_000, default=_cores()),
        host=_host(text("HOLDFAST_HOST")),
        host_grace=_seconds("HOLDFAST_HOST_GRACE", text("HOLDFAST_HOST_GRACE"), 0, 86_400, default=60.0),
        webhook_retention=_seconds(
            "HOLDFAST_WEBHOOK_RETENTION",
            text("HOLDFAST_WEBHOOK_RETENTION"),
            172_800,
            315_360_000,
            default=2_592_000.0,
        ),
        stuck_floor=_seconds("HOLDFAST_STUCK_FLOOR", text("HOLDFAST_STUCK_FLOOR"), 3, 86_400, default=60.0),
        middleware=_paths("HOLDFAST_MIDDLEWARE", text("HOLDFAST_MIDDLEWARE")),
        redact=_redact(text("HOLDFAST_REDACT")),
        mail=_mail(text("HOLDFAST_EMAIL_URL"), debug=debug),
        mail_from=_mail_from(text("HOLDFAST_EMAIL_FROM")),
    )


def parse_database_url(url: str) -> Database:
    """Take a PostgreSQL URL apart.

    Raises:
        EnvError: it is not a URL of a PostgreSQL database. The text never repeats the URL: it may hold a password.
    """
    scheme = url.partition("://")[0] if "://" in url else ""
    if scheme not in {"postgres", "postgresql"}:
        seen = f"the scheme is {scheme!r}" if scheme else "it has no scheme"
        raise EnvError("DATABASE_URL", f"{seen}, and Holdfast keeps its memory in PostgreSQL only", _POSTGRES_EXAMPLE)
    try:
        parts = {k: str(v) for k, v in psycopg.conninfo.conninfo_to_dict(url).items() if v is not None}
    except psycopg.Error as error:
        # libpq quotes the part it could not read, which may be the password: keep its sentence, drop the quotation.
        said = re.sub(r'"[^"]*"', "…", str(error)).strip().rstrip(".")
        raise EnvError("DATABASE_URL", f"it cannot be read ({said})", _POSTGRES_EXAMPLE) from None
    name = parts.pop("dbname", "")
    if not name:
        raise EnvError("DATABASE_URL", "it names no database", _POSTGRES_EXAMPLE)
    if not all(p.isdigit() and 0 < int(p) < 65536 for p in parts.get("port", "").split(",") if p):
        raise EnvError("DATABASE_URL", "its port is not a number from 1 to 65535", _POSTGRES_EXAMPLE)
    return Database(
        name=name,
        user=parts.pop("user", ""),
        password=parts.pop("password", ""),
        host=parts.pop("host", ""),
        port=parts.pop("port", ""),
        options=tuple(sorted(parts.items())),
    )


def redis_number(url: str) -> int:
    """The database number in a URL that `check_redis_url` passed."""
    return int(redis.connection.parse_url(url).get("db") or 0)  # type: ignore[no-untyped-call]


def check_redis_url(url: str) -> None:
    """Raise `EnvError` unless this is the URL of a Redis or Valkey server."""
    parts = urlsplit(url)
    if parts.scheme not in {"redis", "rediss", "unix"}:
        seen = f"the scheme is {parts.scheme!r}" if "://" in url else "it has no scheme"
        raise EnvError("REDIS_URL", f"{seen}, not redis, rediss or unix", _REDIS_EXAMPLE)
    if parts.scheme == "unix":
        number = parse_qs(parts.query).get("db", ["0"])[-1]
        if parts.hostname or not parts.path.startswith("/"):
            raise EnvError("REDIS_URL", "the socket's path is not absolute", _REDIS_EXAMPLE)
    else:
        number = parts.path.strip("/") or "0"
        try:
            port_is_right = parts.port != 0
        except ValueError:
            port_is_right = False
        if not parts.hostname or not port_is_right:
            what = "its port is not a number from 1 to 65535" if parts.hostname else "it names no host"
            raise EnvError("REDIS_URL", what, _REDIS_EXAMPLE)
    if not number.isdigit():
        raise EnvError("REDIS_URL", f"its database {number!r} is not a number", _REDIS_EXAMPLE)


def without_password(url: str) -> str:
    """The same URL, fit for a terminal or a log."""
    shown = re.sub(r"(?<=://)([^/@:]*):[^/@]*@", r"\1:…@", url)
    return re.sub(r"(?<=[?&]password=)[^&]*", "…", shown)


def socket_database_url(folder: Path, user: str, password: str, name: str) -> str:
    """The URL of a database behind a Unix socket in `folder`."""
    return f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@/{name}?host={quote(str(folder), safe='')}"


def default_data_dir() -> Path:
    """Where data lives unless `HOLDFAST_DATA_DIR` says otherwise."""
    if os.geteuid() == 0:
        return Path("/var/lib/holdfast")
    return Path(platformdirs.user_data_dir("holdfast", appauthor=False))


def check_data_dir(path: Path) -> None:
    """Raise `EnvError` unless `path` is, or can become, a folder that this process may write to."""
    nearest = path
    try:
        while not nearest.exists() and nearest != nearest.parent:
            nearest = nearest.parent
        is_folder = nearest.is_dir()
    except PermissionError:
        is_folder = True
    if not is_folder:
        raise EnvError("HOLDFAST_DATA_DIR", f"{nearest} is a file, not a folder", "Name a folder, or one to be created")
    if not os.access(nearest, os.W_OK | os.X_OK):
        what = "cannot be written to" if nearest == path else f"cannot be created: {nearest} cannot be written to"
        remedy = "Name a folder that you own, or give this one to the user"
        raise EnvError("HOLDFAST_DATA_DIR", f"{path} {what} by the user {user_name()!r}", remedy)


def user_name() -> str:
    """The name of the user of this process, or its number where it has none."""
    try:
        return getpass.getuser() if os.geteuid() == os.getuid() else str(os.geteuid())
    except (KeyError, OSError):
        return str(os.geteuid())


def _both_or_none(database_url: str | None, redis_url: str | None) -> None:
    if bool(database_url) == bool(redis_url):
        return
    given, missing = ("DATABASE_URL", "REDIS_URL") if database_url else ("REDIS_URL", "DATABASE_URL")
    example = _REDIS_EXAMPLE if missing == "REDIS_URL" else _POSTGRES_EXAMPLE
    raise EnvError(missing, f"it is not set, while {given} is", f"{example}, or unset {given} to use embedded servers")


def _data_dir(value: str | None) -> Path:
    path = Path(value).expanduser() if value else default_data_dir()
    path = Path(os.path.abspath(path))
    check_data_dir(path)
    return path


def _paths(name: str, value: str | None) -> tuple[str, ...]:
    paths = tuple(path.strip() for path in (value or "").split(",") if path.strip())
    for path in paths:
        if "." not in path or not _MODULE.fullmatch(path):
            raise EnvError(
                name, f"{path!r} is no dotted path", "Write paths such as shop.tracing.span, with commas between them"
            )
    return paths


def _tasks(value: str | None) -> tuple[str, ...]:
    names = [name.strip() for name in (value or "").split(",") if name.strip()]
    return tuple(_task_source(name) for name in dict.fromkeys(names))


def _task_source(name: str) -> str:
    """A module's name as it is, a file as its absolute path."""
    if name.endswith(".py") or os.sep in name:
        path = Path(name).expanduser().absolute()
        if not path.is_file():
            raise EnvError("HOLDFAST_TASKS", f"there is no file {path}", "Write the path of a Python file with tasks")
        return str(path)
    remedy = "Write modules that Python can import, or paths of .py files, with commas between them"
    if not _MODULE.fullmatch(name):
        raise EnvError("HOLDFAST_TASKS", f"{name!r} is no module's name", remedy)
    found = _module_exists(name)
    if not found:
        raise EnvError("HOLDFAST_TASKS", f"there is no module {name!r}", remedy)
    return name


def _module_exists(name: str) -> bool:
    """Whether Python would find this module. Unlike `importlib.util.find_spec` it imports no parent package: task
    code may want Django's settings, and those are being made while the environment is read."""
    path: Sequence[str] | None = None
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        partial = ".".join(parts[:depth])
        finders = (getattr(finder, "find_spec", None) for finder in sys.meta_path)
        spec = next((s for find in finders if find and (s := find(partial, path))), None)
        if spec is None:
            return False
        path = spec.submodule_search_locations
        if path is None and depth < len(parts):
            return False
    return True


def _secret_key(value: str | None) -> str | None:
    if value is not None and len(value) < MIN_SECRET_LENGTH:
        problem = f"it has {len(value)} characters, and fewer than {MIN_SECRET_LENGTH} can be guessed"
        raise EnvError("HOLDFAST_SECRET_KEY", problem, "Write a longer one, or unset it to have one made and kept")
    return value


def _hosts(value: str | None) -> tuple[str, ...]:
    names = [name.strip() for name in (value or "").split(",") if name.strip()]
    for name in names:
        if not _HOST.fullmatch(name):
            remedy = "Write host names without scheme or port, with commas between them, as in holdfast.example.com"
            raise EnvError("HOLDFAST_ALLOWED_HOSTS", f"{name!r} is no host name", remedy)
    return tuple(dict.fromkeys((*names, *LOCAL_HOSTS)))


def _redact(value: str | None) -> tuple[str, ...]:
    """The usual ones, unless it says which, or `none`."""
    if value is None or value == "none":
        return REDACTED if value is None else ()
    names = tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))
    for name in names:
        if not _REDACTED.fullmatch(name):
            remedy = "Write names of values with commas between them, as in password,api_key,card.number, or none"
            raise EnvError("HOLDFAST_REDACT", f"{name!r:.60} is no name of a value", remedy)
    return names


def _host(value: str | None) -> str:
    name = value or socket.gethostname()
    if len(name) > 255 or not name.isprintable() or " " in name:
        raise EnvError("HOLDFAST_HOST", f"{name!r:.60} names no machine", "Write up to 255 characters without blanks")
    return name


def _public_url(value: str | None) -> str | None:
    if value is None:
        return None
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/") or parts.query:
        problem = f"{value!r} is not a scheme and a host"
        raise EnvError(
            "HOLDFAST_PUBLIC_URL", problem, "Write where browsers reach Holdfast: https://holdfast.example.com"
        )
    return f"{parts.scheme}://{parts.netloc}"


def _mail(value: str | None, *, debug: bool) -> Mail | None:
    if value is None:
        return None
    if value == "console:":
        if not debug:
            raise EnvError(
                "HOLDFAST_EMAIL_URL", "mail to the console reaches nobody, and HOLDFAST_DEBUG is off", _MAIL_EXAMPLE
            )
        return Mail()
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise EnvError("HOLDFAST_EMAIL_URL", "its port is not a number from 1 to 65535", _MAIL_EXAMPLE) from None
    if parts.scheme not in _MAIL_PORTS:
        seen = f"the scheme is {parts.scheme!r}" if "://" in value else "it has no scheme"
        raise EnvError("HOLDFAST_EMAIL_URL", f"{seen}, not smtp, smtp+tls or smtps", _MAIL_EXAMPLE)
    if not parts.hostname or port == 0 or parts.path.strip("/") or parts.query or parts.fragment:
        raise EnvError("HOLDFAST_EMAIL_URL", "it is not a scheme and a host", _MAIL_EXAMPLE)
    return Mail(
        host=parts.hostname,
        port=port or _MAIL_PORTS[parts.scheme],
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        starttls=parts.scheme == "smtp+tls",
        tls=parts.scheme == "smtps",
    )


def _mail_from(value: str | None) -> str:
    if value is None:
        return "holdfast@localhost"
    address = parseaddr(value)[1]
    if not value.isprintable() or not re.fullmatch(r"[^@\s]+@[^@\s]+", address):
        raise EnvError(
            "HOLDFAST_EMAIL_FROM", f"{value!r:.100} is no address", "Write one such as Holdfast <holdfast@example.com>"
        )
    return value


def _flag(name: str, value: str | None, *, default: bool) -> bool:
    if value is None:
        return default
    if value.lower() not in _TRUE | _FALSE:
        raise EnvError(name, f"{value!r} is neither yes nor no", "Write 1 or 0")
    return value.lower() in _TRUE


def _payload_limit(value: str | None) -> int:
    if value is None:
        return MEBIBYTE
    if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= MAX_PAYLOAD_LIMIT:
        problem = f"{value!r} is not a number of bytes from 1 to {MAX_PAYLOAD_LIMIT}"
        raise EnvError("HOLDFAST_PAYLOAD_LIMIT", problem, f"Write digits only, as in {MEBIBYTE}")
    return int(value)


def _seconds(name: str, value: str | None, low: float, high: int, *, default: float) -> float:
    if value is None:
        return default
    if not re.fullmatch(r"\d{1,6}(\.\d{1,3})?", value) or not low <= float(value) <= high:
        raise EnvError(
            name, f"{value!r} is not a number of seconds from {low} to {high}", f"Write it as in {default:g}"
        )
    return float(value)


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _count(name: str, value: str | None, high: int, *, default: int) -> int:
    if value is None:
        return default
    if not re.fullmatch(r"\d{1,6}", value) or not 1 <= int(value) <= high:
        raise EnvError(name, f"{value!r} is not a whole number from 1 to {high}", f"Write it as in {default}")
    return int(value)
