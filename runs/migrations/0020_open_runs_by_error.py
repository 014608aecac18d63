import django.db.models.fields.json
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # The index is built while runs come and go. One whose building was interrupted is dropped first.
    atomic = False

    dependencies = [
        ('runs', '0019_error_groups'),
    ]

    operations = [
        migrations.RunSQL('DROP INDEX CONCURRENTLY IF EXISTS run_open_by_error', migrations.RunSQL.noop),
        AddIndexConcurrently(
            model_name='run',
            index=models.Index(django.db.models.fields.json.KeyTextTransform('fingerprint', 'error'), models.OrderBy(models.F('id'), descending=True), condition=models.Q(('error__isnull', False), ('finished_at__isnull', True)), name='run_open_by_error'),
        ),
    ]
