"""Plotly figures from rollups: plain dictionaries, ready for JSON, tested without a browser.

A colour is the name of a design token, such as `--bad-fill`; `static/holdfast/chart.js` puts the token's value of the
current theme in its place, and themes what is not said here, so one figure serves light and dark.
"""

from runs.charts.base import COUNTED as COUNTED
from runs.charts.base import FAILED as FAILED
from runs.charts.base import Cell as Cell
from runs.charts.base import Figure as Figure
from runs.charts.base import Window as Window
from runs.charts.durations import FEWEST_BUCKETS as FEWEST_BUCKETS
from runs.charts.durations import duration_histogram as duration_histogram
from runs.charts.durations import heatmap as heatmap
from runs.charts.durations import percentiles as percentiles
from runs.charts.failures import failed_tries as failed_tries
from runs.charts.flow import depth as depth
from runs.charts.flow import slots as slots
from runs.charts.rates import failure_rate as failure_rate
from runs.charts.rates import throughput as throughput
from runs.charts.watched import watched as watched
