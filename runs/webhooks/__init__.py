"""Inbound webhooks: signed requests of other services become runs."""
