from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # The index is built while runs come and go. One whose building was interrupted is there, invalid, and in the way of
    # another attempt: it is dropped first.
    atomic = False

    dependencies = [("runs", "0025_forks")]

    operations = [
        migrations.RunSQL("DROP INDEX CONCURRENTLY IF EXISTS run_by_end", migrations.RunSQL.noop),
        AddIndexConcurrently(
            model_name="run",
            index=models.Index(
                "finished_at", name="run_by_end", condition=models.Q(("finished_at__isnull", False))
            ),
        ),
    ]
