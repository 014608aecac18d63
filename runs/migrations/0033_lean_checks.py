from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models
from django.db.models.lookups import Exact, IsNull

from runs.constraints import OneOf


class Migration(migrations.Migration):
    # What is there has been checked by the constraints that these replace: the next migration looks at it beside the
    # runs that come and go, and nobody waits for it.

    dependencies = [
        ('queues', '0015_random_tokens'),
        ('runs', '0032_minute_sums'),
    ]

    operations = [
        migrations.RemoveConstraint(model_name='attempt', name='attempt_status_known'),
        migrations.RemoveConstraint(model_name='run', name='run_status_known'),
        migrations.RemoveConstraint(model_name='run', name='run_final_has_finished_at'),
        migrations.RemoveConstraint(model_name='wait', name='wait_kind_known'),
        AddConstraintNotValid(
            model_name='attempt',
            constraint=models.CheckConstraint(condition=OneOf('status', ['running', 'completed', 'failed', 'crashed', 'cancelled', 'timed_out']), name='attempt_status_known'),
        ),
        AddConstraintNotValid(
            model_name='run',
            constraint=models.CheckConstraint(condition=OneOf('status', ['scheduled', 'queued', 'running', 'waiting', 'retrying', 'cancelling', 'completed', 'failed', 'cancelled', 'expired', 'timed_out', 'crashed', 'unknown']), name='run_status_known'),
        ),
        AddConstraintNotValid(
            model_name='run',
            constraint=models.CheckConstraint(condition=Exact(OneOf('status', ['cancelled', 'completed', 'crashed', 'expired', 'failed', 'timed_out', 'unknown']), IsNull(models.F('finished_at'), False)), name='run_final_has_finished_at'),
        ),
        AddConstraintNotValid(
            model_name='wait',
            constraint=models.CheckConstraint(condition=OneOf('kind', ('sleep', 'signal', 'token', 'approval', 'children', 'retry', 'budget', 'update')), name='wait_kind_known'),
        ),
    ]
