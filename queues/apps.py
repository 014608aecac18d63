from django.apps import AppConfig


class QueuesConfig(AppConfig):
    """Flow control: queues and their limits, entries, leases, workers."""

    name = "queues"
    default_auto_field = "django.db.models.BigAutoField"
