"""Icons on a 16 by 16 grid, drawn in the colour of the text around them. Each status has a shape of its own."""

from typing import Final

_CIRCLE = '<circle cx="8" cy="8" r="5.75"/>'

ICONS: Final[dict[str, str]] = {
    # statuses
    "scheduled": _CIRCLE + '<path d="M8 4.75V8l2.25 1.5"/>',
    "queued": '<path d="M3 4.5h10M3 8h10M3 11.500h6"/>',
    "running": '<path d="M5 3.250v9.500L12.500 8z" fill="currentColor"/>',
    "waiting": '<path d="M5.500 3.500v9M10.500 3.500v9" stroke-width="2.250"/>',
    "retrying": '<path d="M13 8a5 5 0 1 1-1.600-3.660M13 2.250V5h-2.750"/>',
    "cancelling": '<circle cx="8" cy="8" r="5.75" stroke-dasharray="2.500 2"/><path d="M5.500 8h5"/>',
    "completed": '<path d="m3 8.500 3.250 3.250L13 4.500" stroke-width="2"/>',
    "failed": '<path d="m4 4 8 8M12 4l-8 8" stroke-width="2"/>',
    "cancelled": _CIRCLE + '<path d="m4 12 8-8"/>',
    "expired": '<path d="M4 2.500h8M4 13.500h8M4.750 2.500c0 3.500 6.500 7.500 6.500 11M11.250 2.500c0 3.500-6.500 7.500-6.500 11"/>',
    "timed_out": '<circle cx="8" cy="9" r="5"/><path d="M8 6v3l2 1.250M6.250 1.750h3.500"/>',
    "crashed": '<path d="M9 1.750 3.750 9H8l-1 5.250L12.250 7H8z" fill="currentColor"/>',
    "unknown": '<path d="M5.500 5.750a2.500 2.500 0 1 1 3.600 2.250C8.300 8.450 8 8.900 8 10M8 12.750v.01" stroke-width="2"/>',
    # places
    "now": '<path d="M1.500 8.500h3l2-5 3 9 2-4h3"/>',
    "runs": '<path d="M2.500 3.500h11M2.500 8h7M2.500 12.500h9"/>',
    "queues": '<path d="M2 3.500h12M4 8h8M6 12.500h4"/>',
    "tasks": '<path d="m5 4-3.500 4L5 12M11 4l3.500 4L11 12"/>',
    "retries": '<path d="M13 8a5 5 0 1 1-1.600-3.660M13 2.250V5h-2.750"/>',
    "errors": '<path d="M8 2 14.500 13.500h-13zM8 6.500v3.250M8 11.750v.01"/>',
    "workers": '<rect x="2" y="2.500" width="12" height="4.500"/><rect x="2" y="9" width="12" height="4.500"/><path d="M4.500 4.750h.01M4.500 11.250h.01"/>',  # noqa: E501
    "schedules": '<rect x="2" y="3" width="12" height="11"/><path d="M2 6.500h12M5 1.500V4M11 1.500V4"/>',
    "approvals": '<path d="m5.500 8 2 2 4-4.500"/><circle cx="8" cy="8" r="6.250"/>',
    "explore": '<path d="M2 14V2M2 14h12M5 11V8M8 11V4M11 11V6.500"/>',
    "changes": '<circle cx="8" cy="8" r="2.500"/><path d="M1 8h4.500M10.500 8H15"/>',
    # actions
    "theme": '<circle cx="8" cy="8" r="5.750"/><path d="M8 2.250a5.750 5.750 0 0 1 0 11.500z" fill="currentColor"/>',
    "user": '<circle cx="8" cy="5.250" r="2.750"/><path d="M2.500 14c.5-3 2.750-4.500 5.500-4.500s5 1.500 5.500 4.500"/>',
    "copy": '<rect x="5.500" y="5.500" width="8" height="8"/><path d="M10.500 5.500v-3h-8v8h3"/>',
    "close": '<path d="m4 4 8 8M12 4l-8 8"/>',
    "download": '<path d="M8 2v8.500M4.500 7.500 8 11l3.500-3.500M2.500 14h11"/>',
    "search": '<circle cx="7" cy="7" r="4.250"/><path d="m10.250 10.250 3.750 3.750"/>',
    "previous": '<path d="M10 3 5 8l5 5"/>',
    "next": '<path d="m6 3 5 5-5 5"/>',
    "step": '<circle cx="8" cy="8" r="3"/>',
    "checkpoint": '<path d="M4 14V2.500h8L9.500 5.750 12 9H4"/>',
}
