"""What a developer's own application may hold."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Now


class Order(models.Model):
    """A customer's order. The run that writes its receipt was enqueued in the transaction that made it."""

    customer = models.CharField(max_length=100)
    item = models.CharField(max_length=100)
    quantity = models.PositiveIntegerField(default=1, validators=[MinValueValidator(1), MaxValueValidator(1_000)])
    receipt = models.CharField(max_length=300, blank=True, default="")
    run_id = models.UUIDField(null=True, editable=False, help_text="The run of send-receipt.")
    created_at = models.DateTimeField(db_default=Now(), db_index=True, editable=False)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"order {self.pk} of {self.customer}"
