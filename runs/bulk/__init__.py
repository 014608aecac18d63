"""Bulk actions: something is done to many runs, part by part, by a run of Holdfast itself.

choices     what can be done, how fast, and what can become of each run
model       a job, and its frozen scope: one row for each run
scope       from a search or a selection to the ids of runs
services    a job is made, and aborted
working     what the task `holdfast.bulk` does
selectors   what pages, API and command line read
"""
