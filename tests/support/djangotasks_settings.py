"""Settings of a project that configures the backend; worker processes of some tests use them."""

from holdfast.settings import *  # noqa: F403

_AT_ONCE = {"min_delay": 0, "max_delay": 0}

TASKS = {
    "default": {
        "BACKEND": "runs.djangotasks.HoldfastBackend",
        "QUEUES": [],
        "OPTIONS": {
            "functions": {"tests.support.djangotask_functions.flaky": {"retry": {"max_attempts": 3, **_AT_ONCE}}}
        },
    },
    "strict": {
        "BACKEND": "runs.djangotasks.HoldfastBackend",
        "QUEUES": ["default", "special"],
        "OPTIONS": {"retry": {"max_attempts": 2, **_AT_ONCE}},
    },
}
