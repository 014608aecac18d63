from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations


class Migration(migrations.Migration):
    # Each by itself: none is to hold its lock while the next table is read.
    atomic = False

    dependencies = [
        ('runs', '0033_lean_checks'),
    ]

    operations = [
        ValidateConstraint(model_name='attempt', name='attempt_status_known'),
        ValidateConstraint(model_name='run', name='run_status_known'),
        ValidateConstraint(model_name='run', name='run_final_has_finished_at'),
        ValidateConstraint(model_name='wait', name='wait_kind_known'),
    ]
