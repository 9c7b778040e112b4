"""What is written down of a child that died."""

from __future__ import annotations

from dataclasses import dataclass

from .board import Killed, Phase, Slot
from .exit_codes import OK
from .signals import name_of

_WHY = {
    Killed.FENCED: "its lease was lost",
    Killed.FROZEN: "it was stopped for longer than its lease",
    Killed.GRACE: "it was not done in its time of grace",
}


@dataclass(frozen=True, slots=True)
class Obituary:
    """As `mark_executor_dead` takes it. The order is the one it was killed for."""

    reason: str
    detail: str
    order: dict[str, object] | None = None


def obituary(slot: Slot) -> Obituary:
    order = killing_order(slot)
    detail = f"process {slot.pid} {how_it_ended(slot)}"
    if slot.killed:
        return Obituary("killed", detail, order)
    if slot.exit_code == OK and slot.phase >= Phase.DRAINING:
        return Obituary("retired", detail)
    return Obituary("child_died", detail)


def killing_order(slot: Slot) -> dict[str, object] | None:
    """None, too, if what it was killed for had ended just before the signal came."""
    if slot.killed != Killed.ORDER or slot.order_at != slot.killed_order_at:
        return None
    return slot.read_order()


def how_it_ended(slot: Slot) -> str:
    code = slot.exit_code
    parts = [f"was ended by {name_of(-code)} ({-code})" if code < 0 else f"ended with exit code {code}"]
    if slot.killed == Killed.ORDER:
        order = killing_order(slot)
        if order is None:
            parts.append("killed for a step that had just ended")
        else:
            what = "workflow" if order["step_id"] is None else f"step {order['step_name']} of workflow"
            parts.append(f"killed because {what} {order['workflow_id']} took longer than {order['seconds']} s")
    elif slot.killed:
        parts.append(f"killed because {_WHY[slot.killed]}")
    elif slot.oom_kills:
        parts.append("out of memory")
    if slot.peak_rss:
        parts.append(f"peak memory {slot.peak_rss / 2**20:.0f} MB")
    return ", ".join(parts)
