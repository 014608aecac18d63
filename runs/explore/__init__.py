"""The page Explore: how runs ended and how long they took, over time; any point leads to its runs.

asked.py        what an address asks for: a time, what runs must be, and a box of the map
links.py        addresses of the page and of the runs behind a point
selectors.py    rollups become cells, totals and groups
figures.py      cells become the charts of the page, with their links
differences.py  what the runs in a box have more often than the others
"""
