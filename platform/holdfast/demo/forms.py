from django import forms

from holdfast.demo.models import Order


class OrderForm(forms.ModelForm):  # type: ignore[type-arg] # Django has no generic at run time
    """A new order."""

    class Meta:
        model = Order
        fields = ("customer", "item", "quantity")
