"""The only settings. What differs between installations comes from the environment: see `holdfast.env`.

Without `DATABASE_URL` and `REDIS_URL`, the servers are those of the data folder's living `manage.py up`. If none
lives, the settings still load, so that `help`, `check`, `makemigrations` and `up` itself work without servers;
`HOLDFAST_SERVERS` says which of the three it is.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from holdfast import env as environment
from holdfast import keys
from holdfast.embedded import state

_env = environment.load()
_live = None if _env.database_url else state.find_live(_env.data_dir)
_database_url = _env.database_url or (_live.database_url if _live else None)

# --- Holdfast's own -------------------------------------------------------------------------------------------------

HOLDFAST_SERVERS: Literal["external", "embedded", "none"] = (
    "external" if _env.database_url else "embedded" if _live else "none"
)
HOLDFAST_DATA_DIR: Path = _env.data_dir
HOLDFAST_REDIS_URL: str = _env.redis_url or (_live.redis_url if _live else f"unix://{_env.data_dir}/no-server.sock")
# What `up` was started with, its workers have: a command on its folder should know the same tasks.
HOLDFAST_TASKS: list[str] = list(_env.tasks or (_live.tasks if _live else ()))
HOLDFAST_TASKS_FROM: str = "HOLDFAST_TASKS" if _env.tasks or not _live else "The `manage.py up` of this data folder"
HOLDFAST_PAYLOAD_LIMIT: int = _env.payload_limit  # bytes
HOLDFAST_GRACE: float = _env.grace  # seconds that a worker may go on after SIGTERM
HOLDFAST_HEARTBEAT_TIMEOUT: float = _env.heartbeat_timeout  # seconds without a beat after which a worker counts as dead
HOLDFAST_CONCURRENCY: int = _env.concurrency  # coroutines at once in one worker
HOLDFAST_THREADS: int = _env.threads  # threads at once in one worker
HOLDFAST_PROCESSES: int = _env.processes  # isolated runs at once in one worker, each in a process of its own
HOLDFAST_HOST: str = _env.host  # the name of this machine, for steps whose results lie on it
HOLDFAST_HOST_GRACE: float = _env.host_grace  # seconds without a worker there after which a host is given up
HOLDFAST_WEBHOOK_RETENTION: float = _env.webhook_retention  # seconds that deliveries are kept, and their ids known
HOLDFAST_REDACT: tuple[str, ...] = _env.redact  # names of values that are shown to nobody
HOLDFAST_STUCK_FLOOR: float = _env.stuck_floor  # seconds of silence that no run is called stuck for
HOLDFAST_MIDDLEWARE: list[str] = list(_env.middleware)  # context managers around every call of a task's function

# --- Django ---------------------------------------------------------------------------------------------------------

DEBUG = _env.debug
SECRET_KEY = _env.secret_key or keys.keep(_env.data_dir, "django")
ROOT_URLCONF = "holdfast.urls"
ASGI_APPLICATION = "holdfast.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "holdfast",  # before Django's own: its `migrate` takes a lock first
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "django_htmx",
    "django_rq",
    "holdfast.access",
    "queues",
    "runs",
    *(["holdfast.demo"] if _env.demo else []),
]

# Where the package is installed (the extra `django-tasks`), its tasks are runs.
if find_spec("django_tasks"):
    INSTALLED_APPS.append("django_tasks")
    TASKS: dict[str, dict[str, Any]] = {"default": {"BACKEND": "runs.djangotasks.HoldfastBackend", "QUEUES": []}}

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "holdfast.middleware.content_security_policy",
    "holdfast.static.StaticFiles",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "holdfast.middleware.PageOrFragment",
    "holdfast.middleware.Inert",
    "holdfast.middleware.RqIsForLooking",
    "holdfast.middleware.DatabaseRefuses",
]

# In a checkout the pages lie at its top; the wheel carries them inside this package.
_package = Path(__file__).resolve().parent
_installed = (_package / "_templates").is_dir()
_templates = _package / "_templates" if _installed else _package.parents[1] / "templates"
_static = _package / "_static" if _installed else _package.parents[1] / "static"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [_templates],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "runs.waits.badges",
            ],
        },
    }
]

STATIC_URL = "/static/"
STATIC_ROOT = None
STATICFILES_DIRS = [_static] if _static.is_dir() else []
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "holdfast.static.VersionedStorage"},
}
WHITENOISE_USE_FINDERS = True  # straight from the source folders: nothing to build or collect
WHITENOISE_AUTOREFRESH = _env.debug
WHITENOISE_ALLOW_ALL_ORIGINS = False

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

LOGIN_URL = "/sign-in/"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/sign-in/"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]

# --- Servers --------------------------------------------------------------------------------------------------------


def _database() -> dict[str, Any]:
    # Connections close with the request (CONN_MAX_AGE 0): under ASGI each request has a thread of its own, and a
    # connection kept by a thread that never comes back is a connection lost. `manage.py web` puts a pool below that.
    found = environment.parse_database_url(_database_url or "postgresql:///holdfast?host=/nonexistent")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": found.name,
        "USER": found.user,
        "PASSWORD": found.password,
        "HOST": found.host,
        "PORT": found.port,
        "CONN_MAX_AGE": 0,
        "OPTIONS": {
            "connect_timeout": "10",
            "application_name": "holdfast",
            **dict(found.options),
            "prepare_threshold": 1,
        },
    }


DATABASES = {"default": _database()}

RQ_QUEUES: dict[str, dict[str, Any]] = {"default": {"URL": HOLDFAST_REDIS_URL, "DEFAULT_TIMEOUT": -1}}
RQ = {"WORKER_CLASS": "runs.engine.worker.ShiftWorker"}
RQ_SHOW_ADMIN_LINK = True

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        # Publications know no database numbers: the prefix keeps installations apart that share a server.
        "CONFIG": {"hosts": [HOLDFAST_REDIS_URL], "prefix": f"holdfast{environment.redis_number(HOLDFAST_REDIS_URL)}"},
    }
}
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": HOLDFAST_REDIS_URL,
        "KEY_PREFIX": "holdfast",
    }
}

# --- Safety ---------------------------------------------------------------------------------------------------------

_public = urlsplit(_env.public_url or "")
_tls = _public.scheme == "https"
HOLDFAST_PUBLIC_URL: str | None = _env.public_url
ALLOWED_HOSTS = [*_env.allowed_hosts, *([_public.hostname] if _public.hostname else [])]
CSRF_TRUSTED_ORIGINS = [_env.public_url] if _env.public_url else []
SESSION_COOKIE_NAME = "holdfast_session"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _tls
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_NAME = "holdfast_csrf"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _tls else None
SECURE_HSTS_SECONDS = 30 * 24 * 3600 if _tls else 0
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
# A body is a payload and its options; what is longer is refused before it is read.
DATA_UPLOAD_MAX_MEMORY_SIZE = HOLDFAST_PAYLOAD_LIMIT + 64 * 1024
# Holdfast talks HTTP where TLS ends in front of it; whether it does is told by HOLDFAST_PUBLIC_URL.
SILENCED_SYSTEM_CHECKS = [
    "security.W004",
    "security.W005",
    "security.W008",
    "security.W012",
    "security.W016",
    "security.W021",
]

# --- Mail -----------------------------------------------------------------------------------------------------------

_mail = _env.mail or environment.Mail()
HOLDFAST_MAILS: bool = _env.mail is not None
EMAIL_BACKEND = f"django.core.mail.backends.{'smtp' if _mail.host else 'console'}.EmailBackend"
EMAIL_HOST, EMAIL_PORT = _mail.host, _mail.port
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _mail.user, _mail.password
EMAIL_USE_TLS, EMAIL_USE_SSL = _mail.starttls, _mail.tls
EMAIL_TIMEOUT = 10  # seconds
DEFAULT_FROM_EMAIL = SERVER_EMAIL = _env.mail_from

# --- Logging --------------------------------------------------------------------------------------------------------

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{levelname} {name}: {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {
        "django": {"handlers": [], "level": "INFO", "propagate": True},
        "django.request": {"level": "ERROR"},  # strangers ask for all kinds of addresses
        "httpx": {"level": "WARNING"},  # it says the addresses of its requests, and some of them are secrets
        "django_tasks": {"level": "WARNING"},  # a line for each start and end: they are on the run's page
        "uvicorn": {"handlers": [], "level": "WARNING", "propagate": True},
        "uvicorn.access": {"handlers": [], "level": "WARNING", "propagate": True},
    },
}
