"""How fast Holdfast is, and how that compares with bare rq and DBOS on the same servers.

    python -m tests.benchmarks                    three rounds, without peers
    python -m tests.benchmarks --peers            beside them (DBOS goes into a throwaway virtual environment)
    python -m tests.benchmarks --tiny --json F    a second's worth, for a look whether it works; figures also as JSON

Everything runs on this machine: its own PostgreSQL (fsync on) and Valkey in a temporary folder, real workers, a real
scheduler. Rounds are interleaved and medians shown, since machines drift; ratios within one run say more than figures.
"""
