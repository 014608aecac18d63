from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('runs', '0029_acknowledged_causes'),
    ]

    operations = [
        migrations.AddField(
            model_name='savedview',
            name='columns',
            field=models.TextField(db_default='', default='', help_text="As runs.columns reads it; empty is each reader's usual ones."),
        ),
    ]
