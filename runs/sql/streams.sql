-- Streams: chunks come in by group commits, and go out by cursor. All by primary key (run, stream, sequence).

-- name: chunks
INSERT INTO runs_chunk (run_id, stream, kind, at, data, attempt, step, snapshot)
SELECT c.run_id, c.stream, c.kind, to_timestamp(c.at), c.data::jsonb, c.attempt, c.step, c.snapshot
FROM unnest(
    %(run_ids)s::uuid[], %(streams)s::text[], %(kinds)s::text[], %(ats)s::float8[], %(data)s::text[],
    %(attempts)s::int[], %(steps)s::text[], %(snapshots)s::int[]
) WITH ORDINALITY AS c (run_id, stream, kind, at, data, attempt, step, snapshot, ord)
ORDER BY c.ord;

-- name: stream_page
-- One snapshot for both: when the run is final here, these are the last of its chunks. No row: no such run. A page
-- ends early at so many bytes; `found` then says that there was more.
SELECT r.status, c.*
FROM runs_run r
LEFT JOIN LATERAL (
    SELECT * FROM (
        SELECT l.sequence, l.kind, l.at, l.data::text AS data, l.attempt, l.step, l.snapshot,
               sum(octet_length(l.data::text)) OVER (ORDER BY l.sequence) AS bytes,
               row_number() OVER (ORDER BY l.sequence) AS number,
               count(*) OVER () AS found
        FROM (
            SELECT * FROM runs_chunk k
            WHERE k.run_id = %(run)s AND k.stream = %(stream)s AND k.sequence > %(after)s
            ORDER BY k.sequence
            LIMIT %(limit)s
        ) l
    ) s
    WHERE s.number = 1 OR coalesce(s.bytes, 0) <= %(bytes)s
) c ON true
WHERE r.id = %(run)s
ORDER BY c.sequence;

-- name: stream_names
-- A run's streams, by hopping over the index from one name to the next: part of the statements below.
names AS (
    (SELECT k.stream FROM runs_chunk k WHERE k.run_id = %(run)s ORDER BY k.stream LIMIT 1)
    UNION ALL
    SELECT (SELECT k.stream FROM runs_chunk k
            WHERE k.run_id = %(run)s AND k.stream > n.stream ORDER BY k.stream LIMIT 1)
    FROM names n WHERE n.stream IS NOT NULL
), streams AS (
    SELECT n.stream FROM names n WHERE n.stream IS NOT NULL LIMIT %(streams)s
)

-- name: live_chunk_starts
-- The streams of a run, and after which chunk a page that opens begins with each; 0: with its first.
WITH RECURSIVE {stream_names}
SELECT s.stream, coalesce(c.sequence, 0) AS sequence
FROM streams s
LEFT JOIN LATERAL (
    SELECT k.sequence FROM runs_chunk k
    WHERE k.run_id = %(run)s AND k.stream = s.stream
    ORDER BY k.sequence DESC
    OFFSET %(limit)s LIMIT 1
) c ON true;

-- name: live_chunks
-- Of all streams of a run, in sequence. `starts` is JSON: stream → the sequence after which it begins.
WITH RECURSIVE {stream_names}, fresh AS (
    SELECT c.*
    FROM streams s
    CROSS JOIN LATERAL (
        SELECT k.sequence, k.stream, k.kind, k.at, k.data::text AS data, k.attempt, k.step, k.snapshot
        FROM runs_chunk k
        WHERE k.run_id = %(run)s AND k.stream = s.stream
          AND k.sequence > greatest(%(after)s::bigint, coalesce((%(starts)s::jsonb ->> s.stream)::bigint, 0))
        ORDER BY k.sequence
        LIMIT %(limit)s
    ) c
    ORDER BY c.sequence
    LIMIT %(limit)s
), sized AS (
    SELECT f.*, sum(octet_length(f.data)) OVER (ORDER BY f.sequence) AS bytes,
           row_number() OVER (ORDER BY f.sequence) AS number, count(*) OVER () AS found
    FROM fresh f
)
SELECT s.sequence, s.stream, s.kind, s.at, s.data, s.attempt, s.step, s.snapshot, s.found
FROM sized s
WHERE s.number = 1 OR coalesce(s.bytes, 0) <= %(bytes)s
ORDER BY s.sequence;
