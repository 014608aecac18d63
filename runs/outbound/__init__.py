"""Outbound webhooks: services of others are told how runs have ended."""
