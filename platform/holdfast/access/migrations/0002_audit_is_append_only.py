"""The audit log refuses UPDATE and DELETE, whoever asks: also the code that runs as the table's owner."""

from django.db import migrations

GUARD = """
CREATE FUNCTION access_audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only: % refused', lower(TG_OP) USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER access_audit_is_append_only BEFORE UPDATE OR DELETE ON access_auditentry
FOR EACH STATEMENT EXECUTE FUNCTION access_audit_is_append_only();
"""

UNGUARD = """
DROP TRIGGER access_audit_is_append_only ON access_auditentry;
DROP FUNCTION access_audit_is_append_only();
"""


class Migration(migrations.Migration):
    dependencies = [("access", "0001_initial")]

    operations = [migrations.RunSQL(GUARD, UNGUARD)]
