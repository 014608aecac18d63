from django.urls import path

from queues import views

app_name = "queues"
urlpatterns = [
    path("", views.queues, name="queues"),
    path("<str:name>/limit/", views.queue_limit, name="limit"),
    path("<str:name>/pause/", views.queue_pause, name="pause"),
    path("<str:name>/resume/", views.queue_resume, name="resume"),
]
