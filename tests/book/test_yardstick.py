"""Costs are stored in seconds that mean the same on every machine."""

from tools import yardstick


def test_a_machine_half_as_fast_stores_the_same_cost(monkeypatch):
    assert yardstick.in_reference_seconds(90, yardstick.REFERENCE) == 90
    assert yardstick.in_reference_seconds(180, 2 * yardstick.REFERENCE) == 90
    times = iter([0, 1, 10, 13, 20, 22])  # three repeats of 1, 3 and 2 seconds
    monkeypatch.setattr(yardstick, "process_time", lambda: next(times))
    worked = []
    monkeypatch.setattr(yardstick, "work", lambda: worked.append(1))
    assert yardstick.seconds(3) == 2 and len(worked) == 4
