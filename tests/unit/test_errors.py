from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from pyengine import errors
from pyengine.errors import DBOSException

CODED: list[tuple[BaseException, int]] = [
    (errors.DBOSWorkflowConflictIDError("w"), 1),
    (errors.DBOSRecoveryError("w"), 2),
    (errors.DBOSInitializationError("no"), 3),
    (errors.DBOSWorkflowFunctionNotFoundError("w"), 4),
    (errors.DBOSNonExistentWorkflowError("w"), 5),
    (errors.MaxRecoveryAttemptsExceededError("w", 3), 6),
    (errors.DBOSMaxStepRetriesExceeded("s", 3, [ValueError("x")]), 7),
    (errors.DBOSNotAuthorizedError("no"), 8),
    (errors.DBOSConflictingWorkflowError("w", "other function"), 9),
    (errors.DBOSWorkflowCancelledError("stop"), 10),
    (errors.DBOSUnexpectedStepError("w", 2, "a", "b"), 11),
    (errors.DBOSQueueDeduplicatedError("w", "q", "d"), 12),
    (errors.DBOSAwaitedWorkflowCancelledError("w"), 13),
    (errors.DBOSAwaitedWorkflowMaxRecoveryAttemptsExceeded("w", 3), 14),
    (errors.DBOSPatchNondeterminismError("w", "p"), 15),
    (errors.DBOSStreamTimeoutError("w", "k", 2.0), 16),
    (errors.DBOSStreamNondeterminismError("w", "k"), 17),
    (errors.DBOSStepTimeoutError("s", 2.0), 18),
    (errors.DBOSConflictingRegistrationError("f"), 25),
    (errors.DBOSQueryTimeoutError(), 26),
    (errors.DBOSWorkflowIDInUseError("w"), 27),
    (errors.DBOSStepNondeterminismError("w", 2), 28),
    (errors.DBOSSerializationError("no"), 101),
    (errors.DBOSPayloadTooLargeError("s", 10, 5), 102),
    (errors.DBOSProtocolNotServedError(1, 2), 103),
]


def by_class(entry: Any) -> str:
    return type(entry).__name__ if isinstance(entry, BaseException) else str(entry)


@pytest.mark.parametrize(("error", "code"), CODED, ids=by_class)
def test_str_names_code_and_message(error: Any, code: int) -> None:
    assert error.dbos_error_code == code
    assert error.message
    assert str(error) == f"DBOS Error {code}: {error.message}"


@pytest.mark.parametrize(("error", "code"), CODED, ids=by_class)
def test_every_error_survives_pickle_and_copy(error: BaseException, code: int) -> None:
    for back in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(back) is type(error)
        assert str(back) == str(error)
        assert vars(back).keys() == vars(error).keys()
        assert back.args == error.args


def test_only_conflict_and_cancellation_escape_except_exception() -> None:
    escaping = {type(error).__name__ for error, _ in CODED if not isinstance(error, Exception)}
    assert escaping == {"DBOSWorkflowConflictIDError", "DBOSWorkflowCancelledError"}
    assert all(isinstance(error, DBOSException) for error, _ in CODED if isinstance(error, Exception))


def test_bare_exception_has_the_code_it_is_given() -> None:
    assert str(DBOSException("plain")) == "plain"
    assert DBOSException("plain").dbos_error_code is None
    assert str(DBOSException("coded", dbos_error_code=42)) == "DBOS Error 42: coded"


def test_names_of_earlier_releases_catch_todays_errors() -> None:
    assert errors.DBOSWorkflowConflictUUIDError is errors.DBOSWorkflowConflictIDError
    assert errors.DBOSCommunicatorMaxRetriesExceededError is errors.DBOSMaxStepRetriesExceeded
    assert errors.DBOSDeadLetterQueueError is errors.MaxRecoveryAttemptsExceededError
    assert issubclass(errors.DBOSDuplicateWorkflowEventError, DBOSException)


def test_missing_workflow_may_be_named_as_destination() -> None:
    error = errors.DBOSNonExistentWorkflowError(destination_id="w")
    assert error.workflow_id == error.destination_id == "w"


class Picky(DBOSException):
    def __init__(self, *, order: int) -> None:
        super().__init__(f"order {order}")
        self.order = order


class Forgetful(DBOSException):
    def __init__(self, order: int) -> None:
        self.order = order


def test_subclasses_of_users_survive_pickle_whatever_their_constructor_takes() -> None:
    picky = pickle.loads(pickle.dumps(Picky(order=3)))
    assert (picky.order, str(picky)) == (3, "order 3")
    forgetful = pickle.loads(pickle.dumps(Forgetful(4)))
    assert (forgetful.order, str(forgetful)) == (4, "4")


class BadStop(StopIteration):
    def __init__(self, first: int, second: int) -> None:
        super().__init__(first)
        self.second = second


class BadFile(FileNotFoundError):
    def __init__(self, path: str) -> None:
        super().__init__(2, "gone", path)


def test_rebuilding_fills_the_fields_of_builtin_exceptions() -> None:
    stop = errors.rebuild_exception(BadStop, (5,))
    assert isinstance(stop, StopIteration)
    assert stop.value == 5
    missing = errors.rebuild_exception(BadFile, (2, "gone", "/a"))
    assert isinstance(missing, OSError)
    assert (missing.errno, missing.filename, missing.args) == (2, "/a", (2, "gone"))


def test_control_signals_are_not_swallowed_by_except_exception() -> None:
    for signal in (errors.ExecutorStopping, errors.ClaimLost, errors.ExecutorFenced):
        assert not issubclass(signal, Exception)
