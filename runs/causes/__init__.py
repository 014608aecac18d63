"""Why things do not flow, in one sentence and its causes, and what people say of them.

facts.py      what is looked at
judging.py    the verdict and its causes, of the facts (pure)
checks.py     what was looked at and found well (pure)
notes.py      what an acknowledgement or a snooze is worth now (pure)
model.py      the table of them
selectors.py  facts and notes together: what pages, API and command line show
services.py   acknowledging, snoozing, taking it back
watch.py      the scheduler's look: notes whose cause is gone, or has become worse, are over
"""
