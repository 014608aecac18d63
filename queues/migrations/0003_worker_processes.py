from django.db import migrations, models


class Migration(migrations.Migration):
    """Workers have a third lane: isolated runs, each in a process of its own."""

    dependencies = [
        ("queues", "0002_timers_without_a_time"),
    ]

    operations = [
        migrations.AddField(
            model_name="worker",
            name="processes",
            field=models.IntegerField(db_default=0, default=0, help_text="Capacity of the process lane."),
        ),
    ]
