import re

import pytest

from timestep.answer import ids


@pytest.mark.parametrize(
    ("make", "form"),
    [
        (ids.new_call_id, r"call_[a-zA-Z0-9]{24}"),
        (ids.new_completion_id, r"chatcmpl-[a-zA-Z0-9]{29}"),
        (ids.new_response_id, r"resp_[a-zA-Z0-9]{24}"),
        (ids.new_message_id, r"msg_[a-zA-Z0-9]{24}"),
        (ids.new_function_call_id, r"fc_[a-zA-Z0-9]{24}"),
    ],
)
def test_an_id_has_openais_form_and_is_new(make, form):
    made = {make() for _ in range(1000)}

    assert len(made) == 1000
    assert all(re.fullmatch(form, one) for one in made)
