from django.urls import path

from queues import breakerviews as breakers
from queues import views, workerviews

app_name = "queues"
urlpatterns = [
    path("", views.queues, name="queues"),
    path("breakers/<str:name>/force/", breakers.force, name="breaker_force"),
    path("breakers/<str:name>/release/", breakers.release, name="breaker_release"),
    path("workers/<int:worker_id>/drain/", workerviews.drain, name="worker_drain"),
    path("<str:name>/limit/", views.queue_limit, name="limit"),
    path("<str:name>/pause/", views.queue_pause, name="pause"),
    path("<str:name>/undo/", views.queue_undo, name="undo"),
    path("<str:name>/resume/", views.queue_resume, name="resume"),
]
