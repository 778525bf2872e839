"""The pool on simulated servers: no scenario takes much longer than with the better of two others."""

import pytest

from bench.pool import SCENARIOS, Machine, Scenario, mean, run

TITLES = [f"{row.title}, {'warm' if row.warm else 'cold'}" for row in SCENARIOS]
HERD = next(row for row in SCENARIOS if row.title == "8 x 1" and not row.warm)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=TITLES)
def test_the_pool_is_never_much_slower_than_the_former_one_or_haproxy(scenario):
    better = min(mean(scenario, router, range(2)) for router in ("former", "leastconn"))

    assert mean(scenario, "pool", range(2)) <= 1.25 * better


@pytest.mark.parametrize("scenario", SCENARIOS, ids=TITLES)
def test_no_request_fails_or_is_lost(scenario):
    outcome = run(scenario, "pool")

    assert outcome.errors == 0
    assert len(outcome.waits) == sum(outcome.shares) == scenario.requests


def test_processes_that_know_nothing_of_each_other_share_the_servers():
    assert run(HERD, "former").shares == [160, 0, 0, 0]
    assert min(run(HERD, "pool").shares) >= 30


def test_processes_whose_ids_are_not_in_a_row_share_them_nearly_as_well():
    assert mean(HERD, "pool", range(3), spread=False) < 1.5 * mean(HERD, "leastconn", range(3))


def test_a_simulation_ends_the_same_way_each_time():
    assert run(HERD, "pool") == run(HERD, "pool")


def test_a_server_queues_what_its_slots_do_not_take_and_loads_a_model_once():
    outcome = run(Scenario("one", (Machine(),), 1, 4, 40), "leastconn")

    assert (outcome.loads, outcome.shares) == (1, [40])
    assert 40 * 0.5 / 2 < outcome.seconds < 40 * 0.5 / 2 + 1 + 1


def test_a_model_that_does_not_fit_displaces_an_idle_one():
    thrash = Scenario("two", (Machine(),), 1, 1, 40, models=("a", "b"))

    assert run(thrash, "leastconn").loads > 10
