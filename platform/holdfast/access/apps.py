from django.apps import AppConfig


class AccessConfig(AppConfig):
    """Who may do what, and who did: roles, API tokens, sign-in links, the audit log."""

    name = "holdfast.access"
    label = "access"
    verbose_name = "Access"
    default_auto_field = "django.db.models.BigAutoField"
