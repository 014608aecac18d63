"""Named statements in files."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from holdfast import sql
from runs.partitions import partition_bounds


def test_statements_are_found_by_name_and_may_include_each_other(tmp_path: Path) -> None:
    text = "-- what it is\n-- name: one\nSELECT 1; -- why\n-- name: two\n({one}) UNION {three}\n"
    (tmp_path / "a.sql").write_text(text)
    found = sql.load(tmp_path, {"three": "SELECT 3"})
    assert found.one == "SELECT 1"
    assert found.two == "(SELECT 1) UNION SELECT 3"


def test_a_name_that_stands_twice_or_nowhere_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.sql").write_text("-- name: one\nSELECT 1\n-- name: one\nSELECT 2\n")
    with pytest.raises(ValueError, match="exists already"):
        sql.load(tmp_path)
    (tmp_path / "a.sql").write_text("-- name: one\n{nowhere}\n")
    with pytest.raises(ValueError, match="names no statement"):
        sql.load(tmp_path)


def test_partitions_join_without_gap_and_hold_the_ids_of_their_week() -> None:
    low, high = partition_bounds(2_900)
    assert high == partition_bounds(2_901)[0]
    noon = 2_900 * 7 * 86_400_000 + 43_200_000
    created_then = uuid.UUID(int=(noon << 80) | (0x7 << 76) | (0b10 << 62) | 12345)
    assert created_then.version == 7
    assert low <= created_then < high
