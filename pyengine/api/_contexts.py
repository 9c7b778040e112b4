"""`with Set…` blocks: what they ask for holds for workflows started or enqueued inside."""

from __future__ import annotations

import json
import re
from contextvars import Token
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal

from ..errors import DBOSException
from ..runtime.checks import check_priority, check_seconds, check_workflow_id, is_utf8
from ..runtime.context import UNSET, Settings, Unset, WorkflowIDRequest, current_settings

# NUL as JSON text. After a backslash it is an escaped backslash and four digits.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


class _SettingsBlock:
    """Changes the settings for the time of a `with` block. Cannot be entered again while it is active."""

    def __init__(self) -> None:
        self._token: Token[Settings] | None = None

    def _changed(self, settings: Settings) -> Settings:
        raise NotImplementedError

    def __enter__(self) -> None:
        if self._token is not None:
            raise DBOSException(f"{type(self).__name__} is active already: create a new one")
        self._token = current_settings.set(self._changed(current_settings.get()))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> Literal[False]:
        token, self._token = self._token, None
        if token is not None:
            current_settings.reset(token)
        return False


class SetWorkflowID(_SettingsBlock):
    """The id of the first workflow started in the block. An id is idempotent: the same one never runs twice.

    workflow_id_reuse_policy="reject" raises DBOSWorkflowIDInUseError when the id exists, instead of returning
    that workflow.
    """

    def __init__(
        self, wfid: str, *, workflow_id_reuse_policy: Literal["return-existing", "reject"] = "return-existing"
    ) -> None:
        super().__init__()
        if workflow_id_reuse_policy not in ("return-existing", "reject"):
            raise DBOSException(
                f"workflow_id_reuse_policy must be 'return-existing' or 'reject', not {workflow_id_reuse_policy!r}"
            )
        self._workflow_id = check_workflow_id(wfid)
        self._reject = workflow_id_reuse_policy == "reject"

    def _changed(self, settings: Settings) -> Settings:
        return replace(settings, id_request=WorkflowIDRequest(self._workflow_id, self._reject))


class SetWorkflowTimeout(_SettingsBlock):
    """A time limit, in seconds from the start (of a queued workflow: its claim); past it the workflow is cancelled.

    None detaches children from their parent's deadline.
    """

    def __init__(self, workflow_timeout_sec: float | None) -> None:
        super().__init__()
        self._timeout = check_seconds("a workflow timeout", workflow_timeout_sec)

    def _changed(self, settings: Settings) -> Settings:
        return replace(settings, timeout=self._timeout)


class SetWorkflowAttributes(_SettingsBlock):
    """JSON attributes of workflows started in the block, by which they can be found. Children do not inherit them."""

    def __init__(self, attributes: dict[str, Any] | None) -> None:
        super().__init__()
        if attributes is not None:
            if not isinstance(attributes, dict):
                raise DBOSException(f"workflow attributes must be a dict, not {type(attributes).__name__}")
            try:
                text = json.dumps(attributes, allow_nan=False, ensure_ascii=False)
            except (TypeError, ValueError) as error:
                raise DBOSException(f"workflow attributes must be a dict that JSON can hold: {error}") from error
            if _NUL.search(text) or not is_utf8(text):
                raise DBOSException(
                    "workflow attributes must be text that Postgres can store: no NUL and no lone surrogates"
                )
        self._attributes = attributes

    def _changed(self, settings: Settings) -> Settings:
        return replace(settings, attributes=self._attributes)


class SetEnqueueOptions(_SettingsBlock):
    """Options of workflows enqueued in the block.

    deduplication_id: while one workflow of a queue holds it, another one is refused (DBOSQueueDeduplicatedError),
    or with duplication_policy="return-existing" the handle of the holder is returned. priority: 1 to 2**31-1,
    lower first, none is first of all. app_version: the application version that runs it. queue_partition_key: the
    partition of a partitioned queue. delay_seconds: how long it waits before it may be claimed.
    """

    def __init__(
        self,
        *,
        deduplication_id: str | None = None,
        priority: int | None = None,
        app_version: str | None = None,
        queue_partition_key: str | None = None,
        delay_seconds: float | None = None,
        duplication_policy: str | None = None,
    ) -> None:
        super().__init__()
        for name, text in (
            ("deduplication_id", deduplication_id),
            ("app_version", app_version),
            ("queue_partition_key", queue_partition_key),
        ):
            if text is not None and (not isinstance(text, str) or not text.strip()):
                raise DBOSException(f"{name} must be a non-empty string, not {text!r}")
        policy = getattr(duplication_policy, "value", duplication_policy)
        if policy not in (None, "reject", "return-existing"):
            raise DBOSException(f"duplication_policy must be 'reject' or 'return-existing', not {duplication_policy!r}")
        if policy == "return-existing" and deduplication_id is None:
            raise DBOSException("duplication_policy='return-existing' needs a deduplication_id")
        self._options: dict[str, Any] = {
            "deduplication_id": deduplication_id,
            "priority": check_priority(priority),
            "app_version": app_version,
            "partition_key": queue_partition_key,
            "delay_seconds": check_seconds("delay_seconds", delay_seconds, allow_zero=True),
            "return_existing": policy == "return-existing",
        }

    def _changed(self, settings: Settings) -> Settings:
        return replace(settings, **self._options)


class DBOSContextSetAuth(_SettingsBlock):
    """Who calls: recorded with workflows started in the block, and restored when they are recovered."""

    def __init__(self, user: str | None, roles: list[str] | None) -> None:
        super().__init__()
        self._user, self._roles = user, roles

    def _changed(self, settings: Settings) -> Settings:
        return replace(settings, authenticated_user=self._user, authenticated_roles=self._roles)


class DBOSContextEnsure:
    """Kept for programs of earlier times: a context needs no preparation here."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc_info: object) -> Literal[False]:
        return False


__all__ = [
    "UNSET",
    "DBOSContextEnsure",
    "DBOSContextSetAuth",
    "SetEnqueueOptions",
    "SetWorkflowAttributes",
    "SetWorkflowID",
    "SetWorkflowTimeout",
    "Unset",
]
