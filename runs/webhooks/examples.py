"""Snippets of the pages of webhooks: a signed request, and what does the same without a browser. Pure."""

from __future__ import annotations

import json
import shlex
from typing import Any, Final

from runs.webhooks import schemes

#: Shell that signs $BODY with $SECRET, and the headers that carry it.
_SIGNING: Final = {
    schemes.STANDARD: (
        "ID=try-$(date +%s%N); NOW=$(date +%s)\n"
        "KEY=$(printf %s \"${SECRET#whsec_}\" | base64 -d | od -An -v -tx1 | tr -d ' \\n')\n"
        'SIG=$(printf %s "$ID.$NOW.$BODY" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$KEY" -binary | base64)',
        ("webhook-id: $ID", "webhook-timestamp: $NOW", "webhook-signature: v1,$SIG"),
    ),
    schemes.GITHUB: (
        'ID=try-$(date +%s%N)\nSIG=$(printf %s "$BODY" | openssl dgst -sha256 -hmac "$SECRET" -r | cut -d\' \' -f1)',
        ("x-github-delivery: $ID", "x-hub-signature-256: sha256=$SIG"),
    ),
    schemes.STRIPE: (
        'NOW=$(date +%s)\nSIG=$(printf %s "$NOW.$BODY" | openssl dgst -sha256 -hmac "$SECRET" -r | cut -d\' \' -f1)',
        ("stripe-signature: t=$NOW,v1=$SIG",),
    ),
}


def signed(scheme: str, address: str, body: Any) -> str:
    """Shell that sends a signed request; it reads the secret from SECRET, so that no history keeps it."""
    signing, headers = _SIGNING[scheme]
    data = shlex.quote(json.dumps(body, ensure_ascii=False))
    sent = "".join(f' \\\n  -H "{header}"' for header in (*headers, "content-type: application/json"))
    return f'read -rs SECRET  # paste it\nBODY={data}\n{signing}\ncurl {address}{sent} \\\n  -d "$BODY"'


def commands(kind: str, name: str, verbs: tuple[str, ...]) -> str:
    """Lines of the command line; `kind` is webhooks or endpoints."""
    return "\n".join(f"manage.py {kind} {verb.replace('NAME', name)}" for verb in verbs)


def http(base_url: str, path: str, body: dict[str, Any], method: str = "") -> str:
    """A request to the API."""
    how = f"-X {method} " if method else ""
    return (
        f"curl {how}{base_url}/api/v1{path} \\\n  -H 'Authorization: Bearer hf_…' \\\n"
        f"  -H 'Content-Type: application/json' \\\n  -d {shlex.quote(json.dumps(body))}"
    )
