"""The shop whose history is made up: its queues, tasks, tenants, and what goes wrong on an ordinary day."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

from queues.models import Lane
from runs.sdk.retry import Retry

#: What every task, queue, worker and breaker of it is named by, and what its runs are tagged with. No dot: a task id
#: with one is looked for as the path of a function (`runs.registration.find`).
PREFIX: Final = "seeded-"
TAG: Final = "seeded"
#: The module that its tasks say they stand in: by this they are known as ours.
MODULE: Final = "holdfast.demo.history"

TENANTS: Final = ("acme", "globex", "initech", "umbrella", "hooli", "stark", "wayne", "wonka")
#: How often each of them asks for something, against the others.
TENANT_WEIGHTS: Final = (30, 18, 14, 12, 10, 7, 5, 4)
NOISY: Final = "globex"
#: What the tasks of a language model call, with its breaker.
GATEWAY: Final = f"{PREFIX}llm-gateway"

#: Weight of each hour of the day (UTC), Monday to Friday; and of a whole day of the weekend.
RHYTHMS: Final = {
    "office": ((1, 1, 1, 1, 1, 2, 4, 8, 14, 18, 20, 19, 15, 16, 19, 20, 18, 13, 8, 5, 4, 3, 2, 1), 0.3),
    "evening": ((6, 3, 2, 1, 1, 1, 2, 4, 6, 7, 8, 9, 11, 10, 9, 9, 10, 13, 17, 20, 22, 20, 15, 10), 1.3),
    "night": ((0, 0, 8, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), 1.0),
}


@dataclass(frozen=True, slots=True)
class Failure:
    """A way to fail. `{n}` in its message differs from run to run; its fingerprint does not."""

    type: str
    message: str
    step: str
    aborts: bool = False  # no other try can help

    @property
    def fingerprint(self) -> str:
        text = f"{self.type}|{self.message}|{self.step}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class StepShape:
    """A step: the median of its seconds, and the spread of their logarithm."""

    name: str
    median: float
    spread: float = 0.5


@dataclass(frozen=True, slots=True)
class TaskShape:
    """A task: how much of all that runs is of it, when, in which steps, and how it fails."""

    name: str
    queue: str
    share: float
    rhythm: str
    doc: str
    steps: tuple[StepShape, ...]
    failures: tuple[Failure, ...]
    retry: Retry = field(default_factory=lambda: Retry(max_attempts=3, min_delay=2.0, max_delay=60.0))
    lane: Lane = Lane.THREAD
    keyed: bool = False  # its runs have their tenant as concurrency key
    spends: bool = False  # tokens and money
    resource: str = ""  # what its last step calls
    children: str = ""  # the task of its children, which it waits for before its last step

    @property
    def id(self) -> str:
        return f"{PREFIX}{self.name}"

    def version(self, number: int) -> str:
        return hashlib.sha256(f"{self.id} {number}".encode()).hexdigest()[:12]


#: Queues by name, with their limits.
QUEUES: Final = {f"{PREFIX}{name}": limit for name, limit in
                 (("mail", 20), ("llm", 8), ("sync", 6), ("media", 6), ("reports", 4))}  # fmt: skip
SYNC, LLM, MEDIA = f"{PREFIX}sync", f"{PREFIX}llm", f"{PREFIX}media"
MAIL, REPORTS = f"{PREFIX}mail", f"{PREFIX}reports"
#: Where code declares another limit than the one that a person has set.
DECLARED: Final = {MAIL: 15}

_SMTP = Failure("smtplib.SMTPServerDisconnected", "connection {n} closed by mx.example.net", "send")
_REFUSED = Failure("smtplib.SMTPRecipientsRefused", "550 no such mailbox: customer {n}", "send", aborts=True)
_MODEL = Failure("openai.RateLimitError", "rate limit reached, try again in {n} ms", "ask-model")
_REMOTE = Failure("requests.exceptions.ReadTimeout", "erp.example.net did not answer within {n} s", "fetch")
_CONFLICT = Failure("shop.errors.StockConflict", "stock of item {n} was changed meanwhile", "store")
_BROKEN = Failure("PIL.UnidentifiedImageError", "cannot identify image file of upload {n}", "decode", aborts=True)
_UPLOAD = Failure("botocore.exceptions.EndpointConnectionError", "no connection to bucket photos (try {n})", "upload")
_RENDER = Failure("weasyprint.LayoutError", "page {n} does not fit", "render")
_STORAGE = Failure("OSError", "[Errno 5] input/output error on volume {n}", "store")

#: What the outage looks like from inside, whichever task calls.
OUTAGE: Final = Failure("httpx.ConnectError", "llm-gateway: all {n} connection attempts failed", "ask-model")
#: What the bad deploy brings.
REGRESSION: Final = Failure("KeyError", "'vat_rate' of invoice line {n}", "render")

_LLM = Retry(max_attempts=5, min_delay=2.0, max_delay=120.0)

TASKS: Final = (
    TaskShape("receipt-mail", MAIL, 0.18, "evening", "Mails a customer the receipt of an order.",
              (StepShape("compose", 0.08), StepShape("send", 0.6, 0.7)), (_SMTP, _REFUSED)),
    TaskShape("welcome-mail", MAIL, 0.08, "office", "Mails a new customer a welcome.",
              (StepShape("compose", 0.05), StepShape("send", 0.6, 0.7)), (_SMTP, _REFUSED)),
    TaskShape("support-reply", LLM, 0.12, "office", "Drafts an answer to a customer's question.",
              (StepShape("find-articles", 0.4), StepShape("ask-model", 5.0, 0.6)), (_MODEL,), _LLM, Lane.COROUTINE,
              spends=True, resource=GATEWAY),
    TaskShape("summarise", LLM, 0.07, "office", "Sums up a conversation for its file.",
              (StepShape("load", 0.1), StepShape("ask-model", 8.0, 0.6)), (_MODEL,), _LLM, Lane.COROUTINE,
              spends=True, resource=GATEWAY),
    TaskShape("sync-orders", SYNC, 0.15, "evening", "Brings a tenant's orders into its bookkeeping.",
              (StepShape("fetch", 1.2, 0.7), StepShape("store", 0.5)), (_REMOTE, _CONFLICT), keyed=True),
    TaskShape("sync-stock", SYNC, 0.12, "office", "Compares a tenant's stock with its warehouse.",
              (StepShape("fetch", 0.9, 0.7), StepShape("compare", 0.2), StepShape("store", 0.4)),
              (_REMOTE, _CONFLICT), keyed=True),
    TaskShape("thumbnail", MEDIA, 0.06, "evening", "Makes the small pictures of a photo.",
              (StepShape("decode", 0.3), StepShape("resize", 0.9), StepShape("upload", 0.4)), (_BROKEN, _UPLOAD)),
    TaskShape("album", MEDIA, 0.10, "evening", "Makes a page of all photos of an order, each a run of its own.",
              (StepShape("list-photos", 0.2), StepShape("publish", 0.7)), (), children="thumbnail"),
    TaskShape("invoice", REPORTS, 0.11, "office", "Writes an invoice and files it.",
              (StepShape("collect", 0.4), StepShape("render", 1.1), StepShape("store", 0.2)), (_RENDER, _STORAGE)),
    TaskShape("daily-report", REPORTS, 0.01, "night", "Sums up the day of a tenant.",
              (StepShape("collect", 6.0), StepShape("render", 12.0), StepShape("store", 0.5)), (_RENDER, _STORAGE)),
)  # fmt: skip
BY_NAME: Final = {task.name: task for task in TASKS}
