from django.apps import AppConfig


class RunsConfig(AppConfig):
    """One run's life: the SDK, the engine, the pages and the API."""

    name = "runs"
    default_auto_field = "django.db.models.BigAutoField"
