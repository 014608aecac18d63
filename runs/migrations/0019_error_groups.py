import django.contrib.postgres.fields
import django.contrib.postgres.indexes
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('runs', '0018_overlap_queue'),
    ]

    operations = [
        migrations.CreateModel(
            name='ErrorCount',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('fingerprint', models.CharField(max_length=64)),
                ('hour', models.DateTimeField()),
                ('task_id', models.CharField(max_length=200)),
                ('step', models.CharField(blank=True, default='', help_text='Empty: raised outside of steps.', max_length=200)),
                ('version', models.CharField(blank=True, default='', max_length=64)),
                ('worker_id', models.BigIntegerField(help_text="0: nobody's, or those of all workers once the hour is long past.")),
                ('count', models.BigIntegerField(help_text='Failed tries.')),
                ('ended', models.BigIntegerField(help_text='Runs that ended with it.')),
            ],
            options={
                'indexes': [models.Index(models.F('hour'), condition=models.Q(('worker_id', 0), _negated=True), name='error_count_by_worker'), models.Index(models.F('hour'), condition=models.Q(('worker_id', 0)), name='error_count_by_age')],
                'constraints': [models.UniqueConstraint(fields=('fingerprint', 'hour', 'task_id', 'step', 'version', 'worker_id'), name='error_count_unique')],
            },
        ),
        migrations.CreateModel(
            name='ErrorGroup',
            fields=[
                ('fingerprint', models.CharField(max_length=64, primary_key=True, serialize=False)),
                ('type', models.CharField(max_length=300)),
                ('message', models.CharField(help_text='With # for what differs from try to try.', max_length=300)),
                ('tasks', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=200), help_text='Those in which it was seen, some dozens at most.', size=None)),
                ('first_seen', models.DateTimeField()),
                ('last_seen', models.DateTimeField(help_text='To some seconds: a group that fails all the time is written rarely.')),
                ('example', models.UUIDField(help_text='A run that has met it lately.', null=True)),
                ('resolved_at', models.DateTimeField(null=True)),
                ('resolved_by', models.CharField(blank=True, db_default='', default='', max_length=200)),
                ('resolved_in', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=64), db_default=[], default=list, help_text='The versions of its tasks then.', size=None)),
                ('resolved_seen', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=64), db_default=[], default=list, help_text='Versions in which it had been seen until then: in these it may go on until they are gone.', size=None)),
                ('snoozed_at', models.DateTimeField(null=True)),
                ('snoozed_by', models.CharField(blank=True, db_default='', default='', max_length=200)),
                ('snoozed_until', models.DateTimeField(help_text='Quiet until then.', null=True)),
                ('snoozed_for', models.BigIntegerField(help_text='Quiet for so many failed tries more.', null=True)),
                ('snoozed_base', models.BigIntegerField(db_default=0, default=0, help_text='Tries of that hour that were there then.')),
                ('reason', models.TextField(blank=True, db_default='', default='', help_text='Of the last resolution or snooze.')),
            ],
            options={
                'indexes': [models.Index(models.F('last_seen'), models.F('fingerprint'), name='error_group_latest'), django.contrib.postgres.indexes.GinIndex(models.F('tasks'), name='error_group_by_task')],
            },
        ),
    ]
