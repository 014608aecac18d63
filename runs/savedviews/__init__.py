"""Saved views: searches of the list of runs under a name, one's own or shared by all.

    model.py      the table
    services.py   saving and deleting, and who may
    selectors.py  what an actor sees

The views of pages are in `runs/views/savedviews.py`; a search itself is read by `runs.search`.
"""
