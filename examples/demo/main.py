"""A journey in four steps. Its id is fixed: starting the program again asks for the same journey, not for another."""

from pyengine import DBOS, SetWorkflowID

DBOS(config={"name": "demo"})


@DBOS.step()
def book(what: str) -> str:
    print(f"booked: {what}", flush=True)
    return what


@DBOS.workflow()
def journey() -> str:
    booked = [book("flight"), book("hotel")]
    DBOS.sleep(3)
    booked += [book("car"), book("concert")]
    return ", ".join(booked)


if __name__ == "__main__":
    DBOS.launch()
    with SetWorkflowID("journey"):
        handle = DBOS.start_workflow(journey)
    print(f"result: {handle.get_result()}", flush=True)
