from django.urls import path

from holdfast.demo import views

app_name = "demo"
urlpatterns = [
    path("orders/", views.orders, name="orders"),
    path("orders/rows/", views.orders_rows, name="orders_rows"),
]
