"""PostgreSQL and Valkey from their Python wheels, run in a data folder."""

from holdfast.embedded.servers import EmbeddedServers

__all__ = ["EmbeddedServers"]
