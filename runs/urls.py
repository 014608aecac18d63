"""The addresses of the pages of runs, tasks and approvals."""

from django.urls import path

from runs.views import now, run, runs, stream, tasks, waits

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
    path("runs/<uuid:run_id>/resolve/", run.run_resolve, name="run_resolve"),
    path("streams/<str:token>", stream.stream, name="stream"),
    path("runs/<uuid:run_id>/replay/", run.run_replay, name="run_replay"),
    path("runs/<uuid:run_id>/signal/", run.run_signal, name="run_signal"),
    path("runs/<uuid:run_id>/updates/", run.run_updates, name="run_updates"),
    path("runs/<uuid:run_id>/update/", run.run_update, name="run_update"),
    path("runs/<uuid:run_id>/children/", run.run_children, name="run_children"),
    path("approvals/", waits.approvals, name="approvals"),
    path("waits/<uuid:wait_id>/", waits.wait, name="wait"),
    path("waits/<str:signed>/", waits.signed_wait, name="signed_wait"),
    path("tasks/", tasks.tasks, name="tasks"),
    path("tasks/<str:task_id>/", tasks.task, name="task"),
]
