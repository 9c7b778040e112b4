"""How long the model is checked: the same bounded stories in every run of CI, many new ones with PYENGINE_SOAK=1."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

# No deadline: a loaded machine decides nothing. Nothing is remembered between runs: a failure prints how to repeat it.
_COMMON = settings(
    deadline=None,
    database=None,
    print_blob=True,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate, Phase.shrink),
)
settings.register_profile("model", _COMMON, derandomize=True, max_examples=20, stateful_step_count=12)
settings.register_profile(
    "soak",
    _COMMON,
    max_examples=int(os.environ.get("PYENGINE_SOAK_EXAMPLES", "500")),
    stateful_step_count=20,
)


def is_soak() -> bool:
    return os.environ.get("PYENGINE_SOAK") == "1"


def profile() -> settings:
    return settings.get_profile("soak" if is_soak() else "model")
