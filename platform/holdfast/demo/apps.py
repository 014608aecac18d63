from django.apps import AppConfig


class DemoConfig(AppConfig):
    """Demo tasks, and a developer's own view that enqueues inside its transaction."""

    name = "holdfast.demo"
    label = "demo"
