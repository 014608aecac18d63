

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('queues', '0013_leases_remember_what_they_counted'),
    ]

    operations = [
        migrations.CreateModel(
            name='Sample',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('minute', models.DateTimeField()),
                ('depth', models.IntegerField(help_text='Entries that were due and waited, counted up to 10,001.')),
                ('running', models.IntegerField(help_text='Entries in the hands of workers.')),
                ('concurrency_limit', models.IntegerField(null=True)),
                ('paused', models.BooleanField()),
                ('queue', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='samples', to='queues.queue')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('minute', 'queue'), name='sample_once')],
            },
        ),
    ]
