"""JSON of users' own, as it goes out."""

from typing import Annotated, Any

from pydantic import PlainSerializer

from holdfast.redaction import redacted

#: Values that are shown to nobody are masked when it is written out.
Shown = Annotated[Any, PlainSerializer(redacted)]
