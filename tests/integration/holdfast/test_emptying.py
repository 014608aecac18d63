"""What a test that commits leaves behind."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management.sql import emit_post_migrate_signal
from django.db import connection

from runs.models import LogLine, Run
from tests.support import stored
from tests.support.emptying import KEPT, empty

SIZES = """
SELECT relname, pg_relation_size(oid) FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> ALL(%s)
"""


@pytest.mark.django_db(transaction=True)
def test_every_table_that_was_written_to_is_as_new() -> None:
    stored.run("completed")
    Run.objects.all().delete()  # its place in the file is taken until somebody cleans up
    kept = stored.run("running")
    stored.lines(kept, "begun", "at it")

    emptied = empty()
    assert "runs_run" in emptied
    assert any(name.startswith("runs_logline_") for name in emptied), "its partition"

    assert not Run.objects.exists()
    assert not LogLine.objects.exists()
    with connection.cursor() as cursor:
        cursor.execute(SIZES, [list(KEPT)])
        sizes = dict(cursor.fetchall())
    assert len(sizes) > 50
    assert {name: size for name, size in sizes.items() if size} == {}
    assert empty() == []


@pytest.mark.django_db
def test_what_is_never_emptied_is_what_migrations_have_made_of_it() -> None:
    """In whatever order the tests run."""
    kinds = {(model._meta.app_label, model._meta.model_name) for model in apps.get_models()}
    before = set(Permission.objects.values_list("content_type_id", "codename"))
    assert kinds <= set(ContentType.objects.values_list("app_label", "model"))
    assert before

    emit_post_migrate_signal(verbosity=0, interactive=False, db="default")

    assert set(Permission.objects.values_list("content_type_id", "codename")) == before
