"""The addresses of the pages of runs and tasks."""

from django.urls import path

from runs.views import now, run, runs, tasks

app_name = "runs"
urlpatterns = [
    path("", now.now, name="now"),
    path("charts/failure-rate.json", now.failure_rate, name="chart_failure_rate"),
    path("charts/durations.json", now.durations, name="chart_durations"),
    path("assets/plotly-<str:name>.min.js", now.plotly_js, name="plotly"),
    path("runs/", runs.runs, name="runs"),
    path("runs/<uuid:run_id>/", run.run, name="run"),
    path("runs/<uuid:run_id>/live/", run.run_live, name="run_live"),
    path("runs/<uuid:run_id>/log/", run.run_log, name="run_log"),
    path("runs/<uuid:run_id>/log/before/<int:before>/", run.run_earlier, name="run_earlier"),
    path("runs/<uuid:run_id>/snapshots/<int:sequence>/", run.snapshot, name="snapshot"),
    path("runs/<uuid:run_id>/retry/", run.run_retry, name="run_retry"),
    path("runs/<uuid:run_id>/cancel/", run.run_cancel, name="run_cancel"),
    path("runs/<uuid:run_id>/top-up/", run.run_top_up, name="run_top_up"),
    path("tasks/", tasks.tasks, name="tasks"),
    path("tasks/<str:task_id>/", tasks.task, name="task"),
]
