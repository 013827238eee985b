"""Does each pattern's mechanism do its job? What the tests of it, test_mechanism_*.py, share.

Each is one seeded comparison with the pattern's control, small enough for every run. It prints its effect with a 95%
interval over seeds and items (`pytest -s tests/test_mechanism_*.py`), and asserts what shows at this size, no more.
"""

from __future__ import annotations

from implementations.record import Estimate

SEEDS = 5


def show(what: str, effect: Estimate) -> None:
    print(f"\n{what}: {effect.value:+.3f} ({effect.low:+.3f} to {effect.high:+.3f}), {len(effect.per_seed)} seeds")
