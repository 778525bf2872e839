"""The known name that was probably meant."""

import pytest

from timestep.errors import UnknownModelError
from timestep.net.nearest import nearest


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [
        ("GROQ", ["groq", "ollama"], "groq"),
        ("groq", ["Groq"], "Groq"),
        ("Num_Ctxt", ["num_ctx", "num_gpu"], "num_ctx"),
        ("x", ["groq"], None),
        ("x", [], None),
    ],
)
def test_a_name_is_near_to_a_known_one_whatever_the_case(name, known, meant):
    assert nearest(name, known) == meant


def test_an_error_about_a_prefix_does_not_mind_its_case():
    assert "Did you mean 'groq'?" in str(UnknownModelError.for_prefix("GROQ", ["groq"]))
