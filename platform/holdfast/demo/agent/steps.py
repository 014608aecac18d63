"""The agent's tools. Each call is a step: stored once, tried again by itself, given up after its timeout."""

# ruff: noqa: T201 - `print` inside a run is a feature to show

from __future__ import annotations

import logging

from holdfast.demo.agent.clients import LocalModel, LocalWeb, Model, Source, Web
from runs import Retry, current_run, log, step, stream, usage

logger = logging.getLogger("demo.research")

#: Put your own clients here.
model: Model = LocalModel()
web: Web = LocalWeb()

QUICK = Retry(max_attempts=3, min_delay=0.2, max_delay=1.0)
#: A model that is overloaded wants more patience than a server that hiccups.
PATIENT = Retry(max_attempts=5, min_delay=1.0, max_delay=30.0)


@step(retry=QUICK, timeout=20)
async def search(topic: str, angle: str) -> list[Source]:
    """Asks a search engine."""
    log.info("searching", topic=topic, angle=angle)
    found = await web.search(topic, angle)
    for source in found:
        print(f"{angle}: found a page of {source.words} words")
    return found


@step(retry=QUICK, timeout=30)
async def read(source: Source) -> str:
    """Fetches a page and notes what it says."""
    logger.info("reading %s", source.url)
    return await web.read(source)


@step(retry=PATIENT, timeout=60)
async def summarize(topic: str, notes: list[str]) -> str:
    """Has a language model sum the notes up. Whoever watches reads along, token by token."""
    log.info("summarizing", notes=len(notes))
    answer = model.answer(topic, notes)
    text = ""
    with stream("answer") as out:
        async for token in answer:
            out.send(token)
            text += token
    took = answer.tokens
    usage(tokens_in=took.input, tokens_out=took.output)  # what budgets and charts go by
    log.info("the model has answered", model=took.model, input_tokens=took.input, output_tokens=took.output)
    return text.strip()


@step(retry=QUICK, timeout=20)
async def publish(title: str, text: str) -> str:
    """Puts the report online. It may be called twice, if a worker dies at the wrong moment; the key tells the server
    that it is the same report."""
    url = await web.publish(title, text, key=current_run().step_key)
    log.info("published", url=url)
    return url
