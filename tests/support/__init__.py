"""Helpers of the tests: real worker processes, waiting for conditions, a ledger of side effects."""
