"""Fencing tokens are random: a sequence may give the same ones again after a crash of PostgreSQL."""

from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('queues', '0014_samples'),
    ]

    operations = [
        migrations.RunSQL("DROP SEQUENCE queues_lease_token", "CREATE SEQUENCE queues_lease_token CACHE 100"),
    ]
