from django.apps import AppConfig


class HoldfastConfig(AppConfig):
    """The project itself: its commands and its system checks. It has no tables."""

    name = "holdfast"
    label = "holdfast"
    default = True

    def ready(self) -> None:
        from holdfast import checks  # noqa: F401 - registers them
