import django.db.models.deletion
from django.db import migrations, models

#: Of what is summed already, there are no sums of minutes yet.
FILL = """
INSERT INTO runs_minutesum (kind, minute, task_id, queue_id, status, count, longest)
SELECT u.kind, u.minute, u.task_id, u.queue_id, u.status, sum(u.count), max(u.bucket)
FROM runs_rollup u
WHERE u.minute < (SELECT m.until FROM runs_coarsemark m WHERE m.size = 15) AND u.kind IN ('run', 'attempt', 'delay')
GROUP BY u.kind, u.minute, u.task_id, u.queue_id, u.status;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('queues', '0014_samples'),
        ('runs', '0031_view_columns'),
    ]

    operations = [
        migrations.CreateModel(
            name='MinuteSum',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('kind', models.CharField(choices=[('run', 'run, from its creation to its end'), ('attempt', 'attempt, active time'), ('step', 'step, one try'), ('delay', 'from the moment a run could start to its start')], max_length=7)),
                ('minute', models.DateTimeField()),
                ('status', models.CharField(max_length=10)),
                ('count', models.BigIntegerField()),
                ('longest', models.SmallIntegerField(help_text='The largest bucket.')),
                ('queue', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, to='queues.queue')),
                ('task', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, to='runs.task')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('kind', 'minute', 'task', 'queue', 'status'), include=('count', 'longest'), name='minute_sum_unique')],
            },
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        # The planner took it for a range of time of one size, and read those of all sizes.
        migrations.RemoveIndex(model_name='coarserollup', name='coarse_rollup_by_time'),
    ]
