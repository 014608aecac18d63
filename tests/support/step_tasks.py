"""Tasks whose steps promise more than "at least once". Loaded by path, like `tasks.py`; they need the demo's table."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time

from django.db import connection, connections, transaction
from django.db.models import F

from holdfast.demo.models import Order
from runs import OutcomeUnknown, Reconciled, Retry, current_run, log, step, task
from tests.support.ledger import first_time, hold, note


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def cut(name: str) -> None:
    """Ends this thread's own session, as an operator or a broken network would."""
    with connection.cursor() as cursor:
        note("cut", name)
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")


def lose_answer(name: str) -> None:
    """The transaction commits, and the session is gone before its answer arrives."""
    session = connection.connection
    commit = session.commit

    def committed() -> None:
        commit()
        note("lost", name)
        other = connection.copy()
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [session.info.backend_pid])
        other.close()
        while True:  # the genuine error, as soon as the server has ended the session
            session.execute("SELECT 1")
            time.sleep(0.01)

    session.commit = committed


# ── steps in a transaction ───────────────────────────────────────────────────────────────────────────────────────


@step(transaction=True)
def write(customer: str, how: str = "") -> int:
    """Writes a row; `how` says what goes wrong."""
    note("write", customer)
    order = Order.objects.create(customer=customer, item="kelp")
    once = bool(how) and first_time(f"{customer}-{how}")
    if once and how == "dies before the commit":
        die()
    if once and how == "dies after the commit":
        transaction.on_commit(die)
    if once and how == "is cut":
        cut(customer)
    if once and how == "loses its answer":
        lose_answer(customer)
    if once and how == "is held":
        note("holds", customer)
        hold("held")
    if how == "its hook fails":
        transaction.on_commit(lambda: 1 / 0)
    if how == "notes its commit":
        transaction.on_commit(lambda: note("committed", Order.objects.filter(customer=customer).count()))
    if how == "rolls back":
        transaction.set_rollback(True)
    if how == "keeps the rest":
        try:
            with transaction.atomic():
                Order.objects.create(customer="nobody", item="x" * 10_000)
        except Exception as error:
            note("savepoint", type(error).__name__)
    return order.pk


@task(id="writes")
def writes(customer: str, how: str = "") -> int:
    return write(customer, how)


@task(id="writes-async")
async def writes_async(customer: str, how: str = "") -> int:
    return await write(customer, how)


@task(id="writes-in-a-thread-of-its-own")
async def writes_in_a_thread_of_its_own(customer: str) -> int:
    return await asyncio.to_thread(write, customer)


@task(id="writes-in-type-checkers-words")
async def writes_in_type_checkers_words(customer: str) -> int:
    return await write.acall(customer)


@step(transaction=True, retry=Retry(max_attempts=3, min_delay=0, max_delay=0))
def write_at_third(customer: str) -> int:
    note("write", customer)
    Order.objects.create(customer=customer, item="kelp")
    if first_time(f"{customer}-1") or first_time(f"{customer}-2"):
        raise ConnectionError("not yet")
    return Order.objects.filter(customer=customer).count()


@task(id="writes-at-third")
def writes_at_third(customer: str) -> int:
    return write_at_third(customer)


@task(id="writes-at-third-async")
async def writes_at_third_async(customer: str) -> int:
    return await write_at_third(customer)


@task(id="writes-within-a-transaction")
def writes_within_a_transaction(customer: str) -> int:
    with transaction.atomic():
        return write(customer)


@step(transaction=True)
def takes_all(customers: list[str]) -> int:
    """Changes what it is given."""
    count = 0
    while customers:
        Order.objects.create(customer=customers.pop(), item="kelp")
        count += 1
    return count


@task(id="takes-all")
def takes_all_of_them(customers: list[str]) -> int:
    return takes_all(customers)


@step(transaction=True)
def add_one(customer: str) -> int:
    """Locks a row; the first time it is held in the middle."""
    Order.objects.filter(customer=customer).update(quantity=F("quantity") + 1)
    if first_time(f"add-{customer}"):
        note("added", customer)
        hold("held")
    return Order.objects.get(customer=customer).quantity


@task(id="adds-one")
def adds_one(customer: str) -> int:
    return add_one(customer)


@step(transaction=True)
def write_elsewhere(customer: str) -> None:
    Order.objects.create(customer=customer, item="kelp")
    note("read", Order.objects.using("other").filter(customer=customer).count())
    Order.objects.using("other").create(customer="bob", item="kelp")


@task(id="writes-elsewhere")
def writes_elsewhere(customer: str) -> None:
    connections.settings["other"] = dict(connections.settings["default"])
    write_elsewhere(customer)


@step(transaction=True)
def write_and_enqueue(customer: str, fail: bool) -> str:
    Order.objects.create(customer=customer, item="kelp")
    handle = writes.using(tags=["child"]).enqueue(f"{customer}-child")
    if fail:
        raise ValueError("neither row nor run")
    return str(handle.id)


@task(id="writes-and-enqueues")
async def writes_and_enqueues(customer: str, fail: bool = False) -> str:
    return await write_and_enqueue(customer, fail)


@step
async def breathe(number: int) -> int:
    await asyncio.sleep(0.005)
    return number


@step(transaction=True)
def say_where(number: int) -> list[object]:
    log.info("in the thread")
    Order.objects.create(customer=f"many-{number}", item="kelp")
    return [threading.current_thread().name.rsplit("_", 1)[0], current_run().step_key]


@task(id="writes-beside-others")
async def writes_beside_others(count: int) -> list[object]:
    """Both ways of storing at once: the group commit's and the steps' own."""
    found = await asyncio.gather(*[(say_where if n % 2 else breathe)(n) for n in range(count)])
    return list(found)


@task(id="writes-too-slowly", max_duration=0.5)
async def writes_too_slowly(customer: str) -> int:
    return await write(customer, "is held")


# ── unsafe steps ─────────────────────────────────────────────────────────────────────────────────────────────────


async def look(payment: str, answer: str, *, step_key: str) -> Reconciled:
    """What the outside service knows, says the payload."""
    note("look", step_key)
    if answer == "happened":
        return Reconciled.happened(f"found {payment}")
    if answer == "did not happen":
        return Reconciled.did_not_happen()
    if answer == "breaks":
        raise ConnectionError("the service is away")
    if answer == "wrong type":
        return Reconciled.happened(["no", "text"])
    return Reconciled.cannot_tell("the service keeps no list")


@step(safety="unsafe", reconcile=look)
async def pay(payment: str, answer: str) -> str:
    note("pay", current_run().step_key)
    if first_time(payment):
        die()
    return f"paid {payment}"


@step(safety="unsafe", retry=Retry(max_attempts=2, min_delay=0, max_delay=0), reconcile=look)
async def pay_uncertain(payment: str, answer: str) -> str:
    note("pay", current_run().step_key)
    if first_time(payment):
        raise OutcomeUnknown("the gateway did not answer")
    return f"paid {payment}"


@step(safety="unsafe", reconcile=look)
async def pay_slowly(payment: str, answer: str) -> str:
    note("pay", current_run().step_key)
    await asyncio.sleep(60)
    return f"paid {payment}"


@step(safety="unsafe")
def pay_blind(payment: str, how: str = "") -> str:
    note("pay", current_run().step_key)
    if first_time(payment):
        if how == "refused":
            raise ValueError("card refused")
        die()
    return f"paid {payment}"


@step
def say(word: str) -> str:
    note("say", current_run().step_key)
    if word == "dies" and first_time(f"dies-{current_run().id}"):
        die()
    return word


@task(id="pays")
async def pays(payment: str, answer: str = "cannot tell") -> str:
    return await pay(payment, answer)


@task(id="pays-twice-by-one-key")
async def pays_twice_by_one_key() -> list[str]:
    step = pay_uncertain.using(key="k")
    return [await step("p-1", "happened"), await step("p-2", "happened")]


@task(id="pays-slowly")
async def pays_slowly(payment: str, answer: str) -> str:
    return await pay_slowly(payment, answer)


@task(id="pays-uncertain")
async def pays_uncertain(payment: str, answer: str) -> str:
    return await pay_uncertain(payment, answer)


@task(id="pays-blind", retry=Retry(max_attempts=2, min_delay=0, max_delay=0))
def pays_blind(payment: str, how: str = "") -> list[str]:
    return [say("before"), pay_blind(payment, how), say("after")]


@task(id="says")
def says() -> list[str]:
    return [say("one"), say("dies"), say("three")]
