from django.db import migrations

# A connection may break for the worker while PostgreSQL is still executing what came through it. Sent again, the batch
# waits here for the row, and finds its number taken if the first one was committed.
ONCE = """
CREATE OR REPLACE FUNCTION queues_begin_batch(worker bigint, number bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE queues_worker SET batch = number WHERE id = worker AND lost_at IS NULL AND batch < number;
    IF NOT FOUND THEN
        IF EXISTS (SELECT 1 FROM queues_worker WHERE id = worker AND lost_at IS NULL) THEN
            RAISE EXCEPTION 'batch % of worker % is recorded already', number, worker USING ERRCODE = 'HF002';
        END IF;
        RAISE EXCEPTION 'worker % was declared lost; what it holds belongs to others now', worker
            USING ERRCODE = 'HF001';
    END IF;
END
$$;
"""

BEFORE = """
CREATE OR REPLACE FUNCTION queues_begin_batch(worker bigint, number bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE queues_worker SET batch = number WHERE id = worker AND lost_at IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'worker % was declared lost; what it holds belongs to others now', worker
            USING ERRCODE = 'HF001';
    END IF;
END
$$;
"""


class Migration(migrations.Migration):
    dependencies = [("queues", "0001_initial")]

    operations = [migrations.RunSQL(ONCE, BEFORE)]
