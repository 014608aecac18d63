"""research-agent: steps side by side, a failure that it recovers from, a streamed answer, a person's approval."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

from pydantic import BaseModel, Field

from holdfast.demo.agent.clients import Source
from holdfast.demo.agent.steps import publish, read, search, summarize
from queues import Queue
from runs import Retry, acheckpoint, current_run, log, task, wait

llm = Queue("llm-calls", concurrency_limit=4)

Topic = Annotated[str, Field(min_length=1, max_length=200, description="What to look into.", examples=["kelp forests"])]
Depth = Annotated[int, Field(ge=1, le=8, description="How many searches run side by side.")]
Ask = Annotated[bool, Field(description="Ask a person before the report is published.")]

ANGLES: Final = (
    "history",
    "how it works",
    "open questions",
    "in numbers",
    "criticism",
    "people",
    "neighbours",
    "outlook",
)
#: What a person is asked, and the seconds after which no answer means no.
QUESTION: Final = "Publish the report?"
PATIENCE: Final = 600.0


class Report(BaseModel):
    """What research-agent returns."""

    topic: str
    title: str
    summary: str
    sources: list[Source]
    words_read: int
    #: Where the report was published, unless somebody said no.
    published: str | None = None


class Publication(BaseModel):
    """What whoever approves fills in."""

    title: str = Field(min_length=1, max_length=200, description="The headline of the report.")


class SourcesUnreadable(Exception):
    """The first attempt ends with this on purpose, so that you see a retry go on where it stopped."""


@task(
    id="research-agent",
    queue=llm,
    retry=Retry(max_attempts=3, factor=2.0, min_delay=1.5, max_delay=3.0),
    max_duration=300,
)
async def research_agent(topic: Topic, depth: Depth = 3, ask: Ask = False) -> Report:
    """Searches side by side, reads what it found, sums it up and publishes. Its first attempt fails on purpose."""
    run = current_run()
    log.info("research begins" if run.attempt == 1 else "research goes on", attempt=run.attempt, state=run.state)
    pages = await asyncio.gather(*(search(topic, angle) for angle in ANGLES[:depth]))
    sources = [source for page in pages for source in page]
    if run.state is None:
        await acheckpoint({"sources_found": len(sources)})
    if run.attempt == 1:
        log.warning("the reader does not answer")
        raise SourcesUnreadable(
            f"All {len(sources)} searches finished, then the reader timed out. This demo fails once on purpose: "
            "the next attempt keeps the searches and goes on from here."
        )
    notes = [await read(source) for source in sources]
    summary = await summarize(topic, notes)
    words = sum(source.words for source in sources)
    report = Report(topic=topic, title=topic.capitalize(), summary=summary, sources=sources, words_read=words)
    if await approved(report, ask):
        report.published = await publish(report.title, report.summary)
    log.info("done", sources=len(sources), words=words)
    return report


async def approved(report: Report, ask: bool) -> bool:
    """Whether the report may be published, with the headline that a person gave it. While it waits for one, the run
    holds neither a worker nor its place in the queue."""
    if not ask:
        return True
    decision = await wait.aapproval(
        QUESTION,
        form=Publication,
        timeout=PATIENCE,
        default="reject",
        context={"topic": report.topic, "summary": report.summary},
    )
    if decision.form is not None:
        report.title = decision.form.title
    log.info("approved" if decision.approved else "not published", by=decision.by, comment=decision.comment)
    return decision.approved
