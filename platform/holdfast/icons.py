"""Icons on a 16 by 16 grid, drawn in the colour of the text around them. Each status has a shape of its own."""

from typing import Final

_CIRCLE = '<circle cx="8" cy="8" r="5.75"/>'

ICONS: Final[dict[str, str]] = {
    # statuses
    "scheduled": _CIRCLE + '<path d="M8 4.75V8l2.25 1.5"/>',
    "queued": '<path d="M3 4.5h10M3 8h10M3 11.5h6"/>',
    "running": '<path d="M5 3.25v9.5L12.5 8z" fill="currentColor"/>',
    "waiting": '<path d="M5.5 3.5v9M10.5 3.5v9" stroke-width="2.25"/>',
    "retrying": '<path d="M13 8a5 5 0 1 1-1.6-3.66M13 2.25V5h-2.75"/>',
    "cancelling": '<circle cx="8" cy="8" r="5.75" stroke-dasharray="2.5 2"/><path d="M5.5 8h5"/>',
    "completed": '<path d="m3 8.5 3.25 3.25L13 4.5" stroke-width="2"/>',
    "failed": '<path d="m4 4 8 8M12 4l-8 8" stroke-width="2"/>',
    "cancelled": _CIRCLE + '<path d="m4 12 8-8"/>',
    "expired": '<path d="M4 2.5h8M4 13.5h8M4.75 2.5c0 3.5 6.5 7.5 6.5 11M11.25 2.5c0 3.5-6.5 7.5-6.5 11"/>',
    "timed_out": '<circle cx="8" cy="9" r="5"/><path d="M8 6v3l2 1.25M6.25 1.75h3.5"/>',
    "crashed": '<path d="M9 1.75 3.75 9H8l-1 5.25L12.25 7H8z" fill="currentColor"/>',
    "unknown": '<path d="M5.5 5.75a2.5 2.5 0 1 1 3.6 2.25C8.3 8.45 8 8.9 8 10M8 12.75v.01" stroke-width="2"/>',
    # places
    "now": '<path d="M1.5 8.5h3l2-5 3 9 2-4h3"/>',
    "runs": '<path d="M2.5 3.5h11M2.5 8h7M2.5 12.5h9"/>',
    "queues": '<path d="M2 3.5h12M4 8h8M6 12.5h4"/>',
    "tasks": '<path d="m5 4-3.5 4L5 12M11 4l3.5 4L11 12"/>',
    "retries": '<path d="M13 8a5 5 0 1 1-1.6-3.66M13 2.25V5h-2.75"/>',
    "errors": '<path d="M8 2 14.5 13.5h-13zM8 6.5v3.25M8 11.75v.01"/>',
    "workers": '<rect x="2" y="2.5" width="12" height="4.5"/><rect x="2" y="9" width="12" height="4.5"/><path d="M4.5 4.75h.01M4.5 11.25h.01"/>',  # noqa: E501
    "schedules": '<rect x="2" y="3" width="12" height="11"/><path d="M2 6.5h12M5 1.5V4M11 1.5V4"/>',
    "webhooks": '<path d="M1.5 5.5h8M7 2.5l3 3-3 3M14.5 10.5h-8M9 7.5l-3 3 3 3"/>',
    "alerts": '<path d="M8 2a4 4 0 0 1 4 4v3l1.5 2.5h-11L4 9V6a4 4 0 0 1 4-4M6.5 13.5a1.75 1.75 0 0 0 3 0"/>',
    "approvals": '<path d="m5.5 8 2 2 4-4.5"/><circle cx="8" cy="8" r="6.25"/>',
    "explore": '<path d="M2 14V2M2 14h12M5 11V8M8 11V4M11 11V6.5"/>',
    "bulk": '<path d="m1.75 4.5 1.5 1.5 2.5-3M1.75 11.5l1.5 1.5 2.5-3M8.5 4.5h6M8.5 11.5h6"/>',
    "changes": '<circle cx="8" cy="8" r="2.5"/><path d="M1 8h4.5M10.5 8H15"/>',
    "admin": '<path d="M2 4.5h7M12 4.5h2M2 11.5h2M7 11.5h7"/><circle cx="10.5" cy="4.5" r="1.5"/><circle cx="5.5" cy="11.5" r="1.5"/>',  # noqa: E501
    # actions
    "theme": '<circle cx="8" cy="8" r="5.75"/><path d="M8 2.25a5.75 5.75 0 0 1 0 11.5z" fill="currentColor"/>',
    "user": '<circle cx="8" cy="5.25" r="2.75"/><path d="M2.5 14c.5-3 2.75-4.5 5.5-4.5s5 1.5 5.5 4.5"/>',
    "keyboard": '<rect x="1.5" y="4" width="13" height="8.5"/><path d="M4 7h.01M6.7 7h.01M9.3 7h.01M12 7h.01M5 9.75h6"/>',  # noqa: E501
    "terminal": '<path d="M2 3.5h12v9H2zM4.5 6l2 2-2 2M8 10.25h3.5"/>',
    "copy": '<rect x="5.5" y="5.5" width="8" height="8"/><path d="M10.5 5.5v-3h-8v8h3"/>',
    "close": '<path d="m4 4 8 8M12 4l-8 8"/>',
    "download": '<path d="M8 2v8.5M4.5 7.5 8 11l3.5-3.5M2.5 14h11"/>',
    "search": '<circle cx="7" cy="7" r="4.25"/><path d="m10.25 10.25 3.75 3.75"/>',
    "previous": '<path d="M10 3 5 8l5 5"/>',
    "next": '<path d="m6 3 5 5-5 5"/>',
    "step": '<circle cx="8" cy="8" r="3"/>',
    "checkpoint": '<path d="M4 14V2.5h8L9.5 5.75 12 9H4"/>',
}
