from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('runs', '0024_struggling'),
    ]

    operations = [
        migrations.AddField(
            model_name='run',
            name='fork_of',
            field=models.UUIDField(help_text='The run whose history this one was started with.', null=True),
        ),
        migrations.AddField(
            model_name='run',
            name='fork_sequence',
            field=models.IntegerField(help_text='Up to this snapshot of that run.', null=True),
        ),
    ]
