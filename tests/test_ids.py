import re

import pytest

from timestep.answer import ids


@pytest.mark.parametrize(
    ("make", "form"),
    [
        (ids.new_completion_id, r"chatcmpl-[a-zA-Z0-9]{29}"),
        (lambda: ids.new_id("resp"), r"resp_[a-zA-Z0-9]{24}"),
    ],
)
def test_an_id_has_openais_form_and_is_new(make, form):
    made = {make() for _ in range(1000)}

    assert len(made) == 1000
    assert all(re.fullmatch(form, one) for one in made)
