-- Pages of a run's log for readers who scroll, jump and search. All by primary key (run, sequence): what is looked at is
-- bounded by `look`, of which those that fit are told, `limit` at most.

-- name: log_line_fits
-- Fields are searched as pages write them: name=value. Not those among which one is shown to nobody: whoever searches
-- could guess it.
    l.level >= %(level)s
    AND coalesce(%(attempt)s::int, l.attempt) = l.attempt
    AND (%(step)s = '' OR l.step = %(step)s OR starts_with(l.step, %(step)s || '#'))
    AND (%(like)s = '' OR l.message ILIKE %(like)s OR l.step ILIKE %(like)s
         OR (l.fields::text !~* %(hidden)s AND replace(replace(l.fields::text, '": ', '='), '"', '') ILIKE %(like)s))

-- name: log_line_shown
-- A message is cut here and not by whoever reads it: a page of the longest ones would be megabytes.
    l.sequence, l.at, l.level, left(l.message, %(most)s) AS message, length(l.message) AS length, l.fields, l.attempt, l.step

-- name: log_lines_after
WITH looked AS MATERIALIZED (
    SELECT l.* FROM runs_logline l
    WHERE l.run_id = %(run)s AND l.sequence > %(from)s
    ORDER BY l.sequence
    LIMIT %(look)s
), found AS (
    SELECT {log_line_shown} FROM looked l WHERE {log_line_fits} ORDER BY l.sequence LIMIT %(limit)s
)
SELECT e.low, e.high, e.looked, f.*
FROM (SELECT min(l.sequence) AS low, max(l.sequence) AS high, count(*) AS looked FROM looked l) e LEFT JOIN found f ON true
ORDER BY f.sequence;

-- name: log_lines_before
WITH looked AS MATERIALIZED (
    SELECT l.* FROM runs_logline l
    WHERE l.run_id = %(run)s AND l.sequence < %(from)s
    ORDER BY l.sequence DESC
    LIMIT %(look)s
), found AS (
    SELECT {log_line_shown} FROM looked l WHERE {log_line_fits} ORDER BY l.sequence DESC LIMIT %(limit)s
)
SELECT e.low, e.high, e.looked, f.*
FROM (SELECT min(l.sequence) AS low, max(l.sequence) AS high, count(*) AS looked FROM looked l) e LEFT JOIN found f ON true
ORDER BY f.sequence DESC;

-- name: log_line_at
-- The sequence from which on lines are not older than a time, by halving: a line's time grows with its sequence, and no
-- index has it.
WITH RECURSIVE look (lo, hi) AS (
    SELECT (SELECT l.sequence FROM runs_logline l WHERE l.run_id = %(run)s ORDER BY l.sequence LIMIT 1),
           (SELECT l.sequence + 1 FROM runs_logline l WHERE l.run_id = %(run)s ORDER BY l.sequence DESC LIMIT 1)
    UNION ALL
    SELECT CASE WHEN p.at < %(at)s THEN p.sequence + 1 ELSE k.lo END,
           CASE WHEN p.at < %(at)s THEN k.hi ELSE k.lo + (k.hi - k.lo) / 2 END
    FROM look k LEFT JOIN LATERAL (
        SELECT l.sequence, l.at FROM runs_logline l
        WHERE l.run_id = %(run)s AND l.sequence >= k.lo + (k.hi - k.lo) / 2 AND l.sequence < k.hi
        ORDER BY l.sequence
        LIMIT 1
    ) p ON true
    WHERE k.lo < k.hi
)
SELECT max(k.lo) AS sequence FROM look k;

-- name: log_begin
-- Where a log begins, and how many of its lines are not told: counted to `most` and no further.
SELECT (SELECT l.sequence FROM runs_logline l WHERE l.run_id = %(run)s ORDER BY l.sequence LIMIT 1) AS first,
       (SELECT count(*) FROM (
           SELECT FROM runs_logline l WHERE l.run_id = %(run)s AND l.sequence <= %(after)s LIMIT %(most)s
       ) c) AS lines;
