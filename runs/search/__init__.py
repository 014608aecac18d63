"""The search of the list of runs: `queue:llm -task:sync status:retrying age:>10m tag:x payload.user.id:42`.

    grammar.py   text becomes terms, or an error that points at its characters
    terms.py     what a term is, which fields there are, and a term as text again
    values.py    times, durations and JSON, from text and back
    plan.py      terms become walks down an index, each as long as is bearable
    suggest.py   what could be typed next, with values that are there

`runs.filters` is what the rest of the code asks for.
"""
