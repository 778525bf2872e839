"""What a span shows of the settings of a call."""

import pytest
from agents import ModelSettings, ModelTracing
from openai import Omit

from timestep.answer.span import open_span


@pytest.mark.parametrize(
    "extras",
    [
        {"extra_args": {"seed": Omit()}},
        {"extra_body": {"x": object()}},
        {"extra_query": {"x": object()}},
        {"extra_headers": {"x": Omit()}},
    ],
    ids=lambda extras: next(iter(extras)),
)
def test_extras_that_are_not_json_are_not_shown_and_stop_nothing(extras):
    settings = ModelSettings(temperature=0.5, **extras)
    span = open_span(
        "m",
        "Hi?",
        settings,
        ModelTracing.ENABLED,
        name="m",
        host="http://h",
        implementation="timestep",
    )
    shown = span.span_data.model_config
    assert shown["temperature"] == 0.5
    assert not shown.keys() & extras.keys()
