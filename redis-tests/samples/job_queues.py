"""Frameworks of Python on a server: Celery, rq, huey, Django's cache, asyncio.

usage: job_queues.py PORT
"""

import asyncio
import logging
import os
import subprocess
import sys
import tempfile
import time
import warnings

from checks import check, finish

warnings.simplefilter("error")
PORT = int(sys.argv[1])



def url(db):
    return f"redis://127.0.0.1:{PORT}/{db}"


CELERY_APP = """
import os
from celery import Celery
app = Celery("tasks", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])
app.conf.update(broker_connection_retry_on_startup=True, worker_hijack_root_logger=False)

@app.task
def add(a, b):
    return a + b

@app.task(bind=True, max_retries=3, default_retry_delay=0)
def third_time(self):
    if self.request.retries < 2:
        raise self.retry(countdown=0)
    return self.request.retries
"""


def celery():
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "tasks.py"), "w", encoding="ascii") as file:
            file.write(CELERY_APP)
        env = {**os.environ, "BROKER": url(1), "BACKEND": url(2), "PYTHONWARNINGS": "ignore"}
        words = ["-m", "celery", "-A", "tasks", "worker", "-l", "warning", "-P", "threads", "-c", "4"]
        worker = subprocess.Popen([sys.executable, *words], cwd=folder, env=env,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        os.environ.update(BROKER=url(1), BACKEND=url(2))
        sys.path.insert(0, folder)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                import tasks
                from celery import chord, group
            check("celery: a task", tasks.add.delay(2, 3).get(timeout=30), 5)
            many = group(tasks.add.s(n, n) for n in range(100))()
            check("celery: a group", many.get(timeout=30), [2 * n for n in range(100)])
            check("celery: a chord", chord([tasks.add.s(1, 1), tasks.add.s(2, 2)])(
                tasks.add.s([0])).get(timeout=30), [2, 4, 0])
            check("celery: a chain", (tasks.add.s(1, 2) | tasks.add.s(4)).delay().get(timeout=30), 7)
            check("celery: retries", tasks.third_time.delay().get(timeout=30), 2)
            late = tasks.add.apply_async((1, 1), countdown=1)
            check("celery: not before its time", late.ready(), False)
            check("celery: then", late.get(timeout=30), 2)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                check("celery: who works", len(tasks.app.control.ping(timeout=2)), 1)
        finally:
            worker.terminate()
            worker.communicate(timeout=30)


def rq():
    import redis
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from rq import Queue, SimpleWorker
    connection = redis.Redis(port=PORT, db=3)
    queue = Queue(connection=connection)
    jobs = [queue.enqueue(divmod, 17, n) for n in (5, 4, 3)]
    broken = queue.enqueue(divmod, 1, 0)
    check("rq: queued", len(queue), 4)
    logging.disable(logging.CRITICAL)
    worker = SimpleWorker([queue], connection=connection)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        worker.work(burst=True)
    logging.disable(logging.NOTSET)
    check("rq: results", [job.return_value() for job in jobs], [(3, 2), (4, 1), (5, 2)])
    check("rq: failed", broken.get_status(refresh=True).value, "failed")
    check("rq: registry", queue.failed_job_registry.get_job_ids(), [broken.id])
    connection.close()


def huey():
    from huey import PriorityRedisHuey
    queue = PriorityRedisHuey("sample", url=url(4))
    seen = []

    @queue.task()
    def note(number):
        seen.append(number)
        return number

    results = [note(1), note(2, priority=5)]
    note.schedule((3,), delay=1)
    consumer = queue.create_consumer(workers=2, initial_delay=0.01)
    consumer.start()
    check("huey: results", [result.get(blocking=True, timeout=10) for result in results], [1, 2])
    end = time.time() + 10
    while len(seen) < 3 and time.time() < end:
        time.sleep(0.05)
    check("huey: the delayed one too", sorted(seen), [1, 2, 3])
    consumer.stop(graceful=True)
    queue.storage.conn.close()


def django():
    from django.conf import settings
    where = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": url(5)}
    settings.configure(CACHES={"default": where}, USE_TZ=True)
    from django.core.cache import cache
    cache.set("a", {"b": [1, 2]}, 30)
    check("django: get", cache.get("a"), {"b": [1, 2]})
    check("django: add", [cache.add("a", 1), cache.add("n", 1)], [False, True])
    check("django: incr", [cache.incr("n"), cache.decr("n", 2)], [2, 0])
    cache.set_many({"x": 1, "y": 2}, timeout=30)
    check("django: many", cache.get_many(["x", "y", "z"]), {"x": 1, "y": 2})
    check("django: touch", [cache.touch("x", 100), cache.touch("z")], [True, False])
    cache.delete_many(["x", "y"])
    check("django: deleted", cache.get("x"), None)
    check("django: version", [cache.incr_version("a"), cache.get("a", version=2)], [2, {"b": [1, 2]}])
    cache.clear()
    check("django: cleared", cache.get("n"), None)
    cache.close()


LIMITER = """
local now = redis.call('TIME')
local now_us = now[1] * 1000000 + now[2]
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now_us - ARGV[1] * 1000000)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], now_us, now_us .. ':' .. redis.call('INCR', KEYS[1] .. ':n'))
redis.call('PEXPIRE', KEYS[1], ARGV[1] * 1000)
return 1
"""


async def asynchronous(protocol):
    from redis import asyncio as redis
    name = f"asyncio RESP{protocol}"
    client = redis.Redis(port=PORT, db=6, protocol=protocol, decode_responses=True)
    await client.flushdb()
    for _ in range(10):
        await asyncio.gather(*(client.incr("n") for _ in range(50)))
    check(f"{name}: 50 at once, ten times", await client.get("n"), "500")
    async with client.pipeline(transaction=True) as pipe:
        check(f"{name}: a transaction", await pipe.set("a", 1).incr("a").get("a").execute(),
              [True, 2, "2"])
    limiter = client.register_script(LIMITER)
    allowed = await asyncio.gather(*(limiter(keys=["limit"], args=[60, 10]) for _ in range(50)))
    check(f"{name}: a rate limiter", sum(allowed), 10)
    held = []

    async def worker():
        async with client.lock("lock", timeout=10, sleep=0.005):
            held.append(1)
            check(f"{name}: alone", sum(held), 1)
            await asyncio.sleep(0.002)
            held.pop()

    await asyncio.gather(*(worker() for _ in range(10)))
    async with client.pubsub() as pubsub:
        await pubsub.subscribe("news")
        await pubsub.get_message(timeout=5)
        await client.publish("news", "hello")
        message = await pubsub.get_message(timeout=5)
        check(f"{name}: a message", message and message["data"], "hello")
    await client.xgroup_create("stream", "group", id="$", mkstream=True)
    reader = asyncio.create_task(
        client.xreadgroup("group", "me", {"stream": ">"}, block=5000, count=1))
    await asyncio.sleep(0.05)
    await client.xadd("stream", {"f": "v"})
    entries = await reader
    entries = entries["stream"][0] if protocol == 3 else entries[0][1]
    check(f"{name}: an entry that was waited for", entries[0][1], {"f": "v"})
    await client.aclose()


def main():
    parts = [celery, rq, huey, django,
             lambda: asyncio.run(asynchronous(2)), lambda: asyncio.run(asynchronous(3))]
    for part in parts:
        try:
            part()
        except Exception as error:  # pylint: disable=broad-except
            check(f"{getattr(part, '__name__', 'part')} runs to its end", repr(error))
    return finish()


if __name__ == "__main__":
    sys.exit(main())
