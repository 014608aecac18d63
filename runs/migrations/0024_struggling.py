from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # Built while runs come and go; one whose building was interrupted is invalid, and dropped first (as in 0017).
    atomic = False

    dependencies = [
        ('queues', '0012_drain'),
        ('runs', '0023_stacks_and_stuck'),
    ]

    operations = [
        migrations.RunSQL('DROP INDEX CONCURRENTLY IF EXISTS run_struggling', migrations.RunSQL.noop),
        AddIndexConcurrently(
            model_name='run',
            index=models.Index(condition=models.Q(('finished_at__isnull', True), models.Q(('failures__gt', 0), ('crashes__gt', 0), _connector='OR')), fields=['-id'], include=('task', 'queue'), name='run_struggling'),
        ),
    ]
