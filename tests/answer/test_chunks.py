import pytest

from timestep.answer.chunks import count


@pytest.mark.parametrize(
    ("value", "counted"),
    [
        *[(1, 1), (2**63 - 1, 2**63 - 1)],
        *[(value, 0) for value in (0, -1, 2**63, 10**300, True, 1.0, "1", None, float("nan"))],
    ],
)
def test_a_count_is_a_number_that_a_database_holds(value, counted):
    assert count({"tokens": value}, "tokens") == counted
    assert count({}, "tokens") == 0
