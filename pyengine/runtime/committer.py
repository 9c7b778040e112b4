"""Group commit: what the workflows of a process write at the same time shares a transaction.

Requests of one kind that arrive while a commit is in flight form the next batch. Whoever comes when nothing is in
flight commits itself, so a lone caller pays for no thread hand-over and no delay; it hands the lead to the next one
when its own request is done. Coroutines never lead: a thread of the committer does it for them. Nobody is told before
the transaction of its batch has committed.

A batch that Postgres refuses, and rows it left over, are sent singly over other connections: one row that waits for
somebody's open transaction, or that cannot be stored, delays nobody else. Nothing that is led waits for a lock longer
than 50 ms.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

from ..db.batches import Arguments, Batch
from ..db.database import Contended, Database
from ..errors import ExecutorFenced, ExecutorStopping
from ..logs import logger
from .singly import Singly

R = TypeVar("R")

MAX_ROWS = 256
MAX_BYTES = 1_000_000
# So many threads are woken at a time, and each wakes another one: all at once would only queue for the interpreter.
_AWAKE = 4


class Request(Generic[R]):
    """One row to be written, and who waits for the verdict."""

    __slots__ = ("arguments", "batch", "error", "key", "notify", "result", "size", "then", "was_tried")

    def __init__(self, batch: Batch[R], arguments: Arguments, then: Callable[[Request[R]], None] | None = None) -> None:
        """`then`: nobody waits for the verdict; whoever has it hands it on by this."""
        self.batch = batch
        self.arguments = arguments
        self.key = batch.key(arguments)
        self.size = batch.size(arguments)
        self.result: R | None = None
        self.error: BaseException | None = None
        self.notify: Callable[[], None] = _nobody
        self.then = then
        self.was_tried = False

    def answer(self) -> R:
        if self.error is not None:
            raise self.error
        return cast(R, self.result)

    def tell(self) -> None:
        if self.then is None:
            self.notify()
            return
        try:
            self.then(self)
        except Exception:
            logger.exception("What was to follow %s failed", self.batch.one.name)


class Committer:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._waiting: dict[tuple[Any, ...], deque[Request[Any]]] = {}
        self._is_led = False
        # Nobody came while the last request was committed, for a thread: so the next may wait awake (db/eagerness.py).
        # Where there are others, that would only take the interpreter from them.
        self._is_quiet = True
        self._thread: threading.Thread | None = None
        self._called: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._singly = Singly[Request[Any]](self._answer_one)
        self._is_stopped = False

    # -- the two ways in ---------------------------------------------------------------------------

    def commit(self, batch: Batch[R], arguments: Arguments) -> R:
        """Write a row, with whatever is to be written meanwhile, and return its verdict. Blocks the thread."""
        if threading.current_thread() is threading.main_thread():
            # Ctrl-C may break it off anywhere: it commits for nobody, and nobody for it.
            is_alone = self._is_quiet and not self._is_led
            return self._database.alone(batch.one, arguments, eagerly=is_alone)
        self._database.check_process()
        request = Request(batch, arguments)
        waiter = _ThreadWaiter()
        request.notify = waiter
        with self._lock:
            self._add(request)
            leads, self._is_led = not self._is_led, True
        if not leads:
            try:
                leads = waiter.wait()
            except BaseException:  # thrown into this thread: the row is written all the same, and the lead not lost
                with self._lock:
                    request.notify = _nobody
                    was_told_to_lead = waiter.leads
                waiter.pass_on()
                if was_told_to_lead:
                    self._call_thread()
                raise
        if leads and not self._lead(until=request):
            waiter.wait()
        return request.answer()

    async def commit_async(self, batch: Batch[R], arguments: Arguments) -> R:
        """As `commit`, for a coroutine."""
        self._database.check_process()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        request = Request(batch, arguments)
        request.notify = _LoopWaiter(loop, future)
        with self._lock:
            self._add(request)
            if not self._is_led:
                # Called before it is led: Ctrl-C between the two must not leave a lead that nobody has.
                self._call_thread()
                self._is_led = True
        await future
        return request.answer()

    def commit_later(
        self, batch: Batch[R], arguments: Arguments, then: Callable[[Request[R]], None], *, may_lead: bool
    ) -> None:
        """As `commit`, for what nobody waits for: `then` is called with the request when its row is committed or cannot
        be. It is called in any thread, must be quick and must not commit. `may_lead`: this thread has time to.
        """
        self._database.check_process()
        request = Request(batch, arguments, then)
        with self._lock:
            self._add(request)
            leads = not self._is_led
            if leads and not may_lead:
                self._call_thread()
            self._is_led = True
        if not leads or not may_lead:
            return
        try:
            is_answered = self._lead(until=request)
        except BaseException:  # thrown into this thread: the row is written all the same
            self._singly_all([request])
            raise
        if is_answered:
            request.tell()

    def stop(self) -> None:
        """Keep no thread any more. What still waits is answered by the database, which is closed next."""
        with self._lock:
            self._is_stopped = True
        self._singly.stop()
        self._called.put(None)

    # -- leading -----------------------------------------------------------------------------------

    def _add(self, request: Request[Any]) -> None:
        if self._is_stopped:
            raise ExecutorStopping("the engine is shutting down")
        waiting = self._waiting.get(request.key)
        if waiting is None:
            self._waiting[request.key] = deque((request,))
        else:
            waiting.append(request)

    def _lead(self, until: Request[Any] | None) -> bool:
        """Commit batch after batch until this request is dealt with (None: until nothing waits), then pass the lead on.
        Returns whether it is answered: if it has to go singly, it is told like any other.
        """
        while True:
            with self._lock:
                requests = self._take()
                self._is_quiet = self._is_quiet and until is not None and len(requests) < 2
                if not requests:
                    self._is_led = False
                    return until is None
            try:
                answered, singly = self._commit(requests)
            except BaseException:  # thrown into this thread
                self._singly_all([request for request in requests if request is not until])
                self._pass_on()
                raise
            self._is_quiet = until is not None and len(requests) == 1 and not self._waiting
            is_answered = self._tell(answered, until)
            self._singly_all(singly)
            if is_answered or until in singly:
                self._pass_on()
                return is_answered

    def _pass_on(self) -> None:
        with self._lock:
            if not self._waiting:
                self._is_led = False
                return
            waiter = next(iter(self._waiting.values()))[0].notify
            # Under the lock: a waiter that gives up must see that it was told to lead.
            if isinstance(waiter, _ThreadWaiter):
                waiter.leads = True
        if isinstance(waiter, _ThreadWaiter):
            waiter.wake()
        else:
            self._call_thread()

    def _take(self) -> list[Request[Any]]:
        """The next batch: of the kind whose first request has waited longest."""
        key = next(iter(self._waiting), None)
        if key is None:
            return []
        waiting = self._waiting.pop(key)
        if len(waiting) == 1:
            return [waiting[0]]
        taken: list[Request[Any]] = []
        size = 0
        while waiting and len(taken) < MAX_ROWS:
            size += waiting[0].size
            if taken and size > MAX_BYTES:
                break
            taken.append(waiting.popleft())
        if waiting:
            self._waiting[key] = waiting  # behind the other kinds
        return taken

    def _commit(self, requests: list[Request[Any]]) -> tuple[list[Request[Any]], list[Request[Any]]]:
        """Write a batch. Returns those that are answered, and those that have to go singly."""
        if len(requests) > 1:
            return self._commit_many(requests)
        (request,) = requests
        if request.size > MAX_BYTES:
            return [], requests
        if self._commit_one(request, eagerly=self._is_quiet):
            return requests, []
        request.was_tried = True
        return [], requests

    def _commit_many(self, requests: list[Request[Any]]) -> tuple[list[Request[Any]], list[Request[Any]]]:
        batch: Batch[Any] = requests[0].batch
        try:
            reply = self._database.attempt(batch.many, batch.gather([request.arguments for request in requests]))
        except (ExecutorFenced, ExecutorStopping) as error:
            for request in requests:
                request.error = error
            return requests, []
        except Exception as error:
            logger.debug("A batch of %d (%s) is split: %s", len(requests), batch.many.name, error)
            return [], requests
        positions = set(batch.left_over(reply))
        answered: list[Request[Any]] = []
        singly: list[Request[Any]] = []
        for number, request in enumerate(requests, 1):
            if number in positions:
                singly.append(request)
            else:
                request.result = batch.done(request.arguments, reply)
                answered.append(request)
        return answered, singly

    def _commit_one(self, request: Request[Any], *, eagerly: bool = False) -> bool:
        """False: somebody's open transaction is in the way."""
        try:
            request.result = self._database.attempt(request.batch.one, request.arguments, eagerly=eagerly)
        except Contended:
            return False
        except (Exception, ExecutorFenced, ExecutorStopping) as error:
            request.error = error
        return True

    # -- one by one --------------------------------------------------------------------------------

    def _singly_all(self, requests: list[Request[Any]]) -> None:
        for request in requests:
            try:
                self._singly.add(request, was_tried=request.was_tried)
            except RuntimeError as error:  # no thread to be had: the interpreter is ending
                request.error = error
                request.tell()

    def _answer_one(self, request: Request[Any]) -> bool:
        try:
            if not self._commit_one(request):
                return False
        except BaseException as error:  # thrown into this thread: whoever waits must not wait for ever
            request.error = error
        request.tell()
        return True

    def _tell(self, requests: list[Request[Any]], own: Request[Any] | None) -> bool:
        loops: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
        threads: list[_ThreadWaiter] = []
        unawaited: list[Request[Any]] = []
        is_done = False
        # Under the lock: a thread that gives up either is not here any more, or sees whom it has to wake.
        with self._lock:
            for request in requests:
                notify = request.notify
                if request is own:
                    is_done = True
                elif request.then is not None:
                    unawaited.append(request)
                elif isinstance(notify, _LoopWaiter):
                    loops.setdefault(notify.loop, []).append(notify.future)
                elif isinstance(notify, _ThreadWaiter):
                    threads.append(notify)
            for waiter, following in zip(threads, threads[_AWAKE:], strict=False):
                waiter.following = following
        for waiter in threads[:_AWAKE]:
            waiter.wake()
        for loop, futures in loops.items():
            _wake(loop, futures)
        for request in unawaited:
            request.tell()
        return is_done

    # -- the thread that leads for coroutines ------------------------------------------------------

    def _call_thread(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="pyengine-committer", daemon=True)
            self._thread.start()
        self._called.put(None)

    def _serve(self) -> None:
        while True:
            self._called.get()
            self._lead(until=None)
            if self._is_stopped and not self._waiting:
                return


def _nobody() -> None:
    return None


class _ThreadWaiter:
    """A thread that waits for its answer, or to be told to lead. Woken, it wakes who follows."""

    __slots__ = ("_woken", "following", "leads")

    def __init__(self) -> None:
        self.leads = False
        self.following: _ThreadWaiter | None = None
        self._woken = threading.Lock()
        self._woken.acquire()

    def wait(self) -> bool:
        try:
            self._woken.acquire()
        finally:
            self.pass_on()
        return self.leads

    def pass_on(self) -> None:
        following, self.following = self.following, None
        if following is not None:
            following.wake()

    def wake(self) -> None:
        self._woken.release()

    __call__ = wake


class _LoopWaiter:
    """A coroutine that waits: woken together with the others of its loop."""

    __slots__ = ("future", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[None]) -> None:
        self.loop = loop
        self.future = future

    def __call__(self) -> None:
        _wake(self.loop, [self.future])


def _wake(loop: asyncio.AbstractEventLoop, futures: list[asyncio.Future[None]]) -> None:
    try:
        loop.call_soon_threadsafe(_settle, futures)
    except RuntimeError:
        return  # the loop is closed: nobody waits


def _settle(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)
