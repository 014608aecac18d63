from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('queues', '0012_drain'),
    ]

    operations = [
        migrations.AddField(
            model_name='lease',
            name='counted',
            field=models.IntegerField(help_text="What it counted in its queue's rate; empty without one.", null=True),
        ),
        migrations.AddField(
            model_name='lease',
            name='key_counted',
            field=models.IntegerField(help_text='The same in the rate of its key.', null=True),
        ),
    ]
