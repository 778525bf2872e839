import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timestep.errors import ConfigurationError, TimestepError, UnknownModelError
from timestep.net.headers import check_headers
from timestep.net.model_names import is_cloud_name, strip_cloud_suffix, with_cloud_suffix
from timestep.net.urls import is_loopback
from timestep.ollama.endpoint import build_endpoints, check_model_name

KEY = "secret-key"
LOCAL, CLOUD = "http://localhost:11434", "https://ollama.com"


def bearer(endpoint):
    return endpoint.headers.get("authorization")


@pytest.mark.parametrize(
    ("name", "is_cloud", "bare"),
    [
        ("llama3.2", False, "llama3.2"),
        ("gpt-oss:120b-cloud", True, "gpt-oss:120b"),
        ("gpt-oss:cloud", True, "gpt-oss"),
        ("gpt-oss:120b:cloud", True, "gpt-oss:120b"),
        ("GPT-OSS:120B-CLOUD", True, "GPT-OSS:120B"),
        ("qwen3-cloud", True, "qwen3"),
        ("x:Q4-Cloud", True, "x:Q4"),
        ("cloud", False, "cloud"),
        ("cloud:7b", False, "cloud:7b"),
        ("nextcloud", False, "nextcloud"),
        ("hf.co/user/cloud", False, "hf.co/user/cloud"),
        ("-cloudy", False, "-cloudy"),
    ],
)
def test_a_cloud_name_ends_in_cloud(name, is_cloud, bare):
    assert is_cloud_name(name) is is_cloud
    assert strip_cloud_suffix(name) == bare


@pytest.mark.parametrize(
    ("listed", "named"), [("gpt-oss:120b", "gpt-oss:120b-cloud"), ("kimi-k2", "kimi-k2:cloud")]
)
def test_models_of_ollama_com_get_names_that_lead_there(listed, named):
    assert with_cloud_suffix(listed) == named
    assert strip_cloud_suffix(named) == listed


# Where a local and a cloud name go, under which name, and whether the key goes along.
ROUTES = {
    "nothing configured": ({}, (LOCAL, "m", None), (CLOUD, "c:1", None)),
    "key alone": ({"api_key": KEY}, (LOCAL, "m", None), (CLOUD, "c:1", KEY)),
    "base URL": (
        {"base_url": "http://gpu:1/"},
        ("http://gpu:1", "m", None),
        ("http://gpu:1", "c:1-cloud", None),
    ),
    "base URL with its key": (
        {"base_url": "https://gpu", "api_key": KEY},
        ("https://gpu", "m", KEY),
        ("https://gpu", "c:1-cloud", KEY),
    ),
    "base URL of the cloud": (
        {"base_url": CLOUD, "api_key": KEY},
        (CLOUD, "m", KEY),
        (CLOUD, "c:1", KEY),
    ),
    "another local server": (
        {"local_url": "http://gpu:1", "api_key": KEY},
        ("http://gpu:1", "m", None),
        (CLOUD, "c:1", KEY),
    ),
    "OLLAMA_HOST is the cloud": (
        {"local_url": CLOUD, "api_key": KEY},
        (CLOUD, "m", KEY),
        (CLOUD, "c:1", KEY),
    ),
    "OLLAMA_HOST is the cloud in the clear": (
        {"local_url": "http://ollama.com", "api_key": KEY},
        ("http://ollama.com", "m", None),
        (CLOUD, "c:1", KEY),
    ),
    "a name like the cloud's": (
        {"local_url": "https://ollama.com.example.org", "api_key": KEY},
        ("https://ollama.com.example.org", "m", None),
        (CLOUD, "c:1", KEY),
    ),
    "another port of the cloud": (
        {"local_url": "https://ollama.com:8443", "api_key": KEY},
        ("https://ollama.com:8443", "m", None),
        (CLOUD, "c:1", KEY),
    ),
    "loopback in the clear": (
        {"base_url": "http://127.0.0.1:1", "api_key": KEY},
        ("http://127.0.0.1:1", "m", KEY),
        ("http://127.0.0.1:1", "c:1-cloud", KEY),
    ),
    "in the clear, allowed": (
        {"base_url": "http://gpu:1", "api_key": KEY, "allow_insecure": True},
        ("http://gpu:1", "m", KEY),
        ("http://gpu:1", "c:1-cloud", KEY),
    ),
    "blank key": ({"api_key": " \n"}, (LOCAL, "m", None), (CLOUD, "c:1", None)),
    "key with a line end": ({"api_key": f"{KEY}\n"}, (LOCAL, "m", None), (CLOUD, "c:1", KEY)),
}


@pytest.mark.parametrize(("asked", "local", "cloud"), ROUTES.values(), ids=ROUTES)
def test_names_and_keys_go_where_they_belong(asked, local, cloud):
    endpoints = build_endpoints(**asked)

    for name, (base_url, sent_name, key) in (("m", local), ("c:1-cloud", cloud)):
        endpoint, served_as = endpoints.route(name)
        assert (endpoint.base_url, served_as) == (base_url, sent_name)
        assert bearer(endpoint) == (key and f"Bearer {key}")
        assert endpoint.is_cloud == (base_url == CLOUD)


URLS = st.sampled_from(
    [None, LOCAL, CLOUD, "http://ollama.com", "https://gpu", "http://gpu:1", "https://evil/ollama.com"]
)  # a table reads better in rows # fmt: skip
NAMES = st.text(string.ascii_letters + ":-/.", min_size=1) | st.sampled_from(["c:cloud", "c-cloud"])


@given(URLS, URLS, NAMES, st.booleans())
def test_a_key_reaches_only_the_host_it_is_for(base_url, local_url, name, allow_insecure):
    try:
        endpoints = build_endpoints(
            api_key=KEY, base_url=base_url, local_url=local_url, allow_insecure=allow_insecure
        )
    except ConfigurationError:
        assert base_url in {"http://gpu:1", "http://ollama.com"}
        assert not allow_insecure
        return
    endpoint, _ = endpoints.route(name)

    if bearer(endpoint):
        assert endpoint.base_url == (base_url or CLOUD)
        assert (
            allow_insecure
            or endpoint.base_url.startswith("https:")
            or is_loopback(endpoint.base_url)
        )


def test_a_key_in_the_clear_is_refused_and_not_repeated():
    for asked in (
        {"api_key": KEY, "base_url": "http://gpu:1"},
        {"headers": {"Authorization": KEY}, "base_url": "http://gpu:1"},
        {"headers": {"AUTHORIZATION": KEY}, "local_url": "http://gpu:1"},
    ):
        with pytest.raises(ConfigurationError, match="https://") as refused:
            build_endpoints(**asked)
        assert KEY not in str(refused.value)


def test_headers_go_to_the_configured_server_alone():
    endpoints = build_endpoints(headers={"X-Proxy": "p"}, api_key=KEY)

    assert endpoints.route("m")[0].headers == {"x-proxy": "p"}
    assert endpoints.route("c-cloud")[0].headers == {"authorization": f"Bearer {KEY}"}

    own = build_endpoints(base_url="https://gpu", headers={"Authorization": "Basic x"}, api_key=KEY)
    assert bearer(own.local) == "Basic x"
    assert KEY not in repr(own)
    assert "Basic x" not in repr(own)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"api_key": "a b"}, "the key holds a space"),
        ({"api_key": "a\nb"}, "the key holds a space, a line break"),
        ({"api_key": "schlüssel"}, "not ASCII; copy it again"),
        ({"api_key": "\ud800"}, "not ASCII; copy it again"),
        ({"api_key": b"key"}, "is bytes, not text"),
        ({"api_key": 5}, "is int, not text"),
        ({"base_url": 5}, "is int, not text"),
        ({"base_url": "gpu:11434"}, "write http:// before it"),
        ({"base_url": "ftp://gpu"}, "the scheme is not supported"),
        ({"headers": {"X A": "1"}}, "'X A' cannot be a header's name"),
        ({"headers": {"X-A": "1\n2"}}, "the value of the header 'X-A' holds a line break"),
        ({"headers": {"X-A": 1}}, "the value of the header 'X-A' is int"),
        ({"headers": {"Content-Length": "3"}}, "'Content-Length' is set by the connection"),
        ({"headers": {1: "1"}}, "1 cannot be a header's name"),
        ({"base_url": "http://gpu", "api_key": "k"}, "https://"),
    ],
)
def test_what_cannot_be_used_is_a_configuration_error(asked, words):
    with pytest.raises(ConfigurationError) as refused:
        build_endpoints(**asked)

    assert words in str(refused.value)
    assert "schlüssel" not in str(refused.value)


@given(st.none() | st.text(), st.none() | st.text(), st.dictionaries(st.text(), st.text()))
def test_any_text_is_used_or_refused(api_key, url, headers):
    try:
        endpoints = build_endpoints(api_key=api_key, base_url=url, headers=headers)
    except TimestepError:
        return
    assert check_headers(endpoints.local.headers) == endpoints.local.headers


@pytest.mark.parametrize(
    "name", ["m", "hf.co/user/repo:Q4_K_M", "ollama/llama3.2", "gpt-oss:120b-cloud", " m "]
)
def test_a_model_name_is_kept_verbatim(name):
    assert check_model_name(name) == name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (None, "No Ollama model is named None"),
        ("", "No Ollama model"),
        ("  ", "No Ollama model"),
        (5, "named 5"),
        (["m"], "named ['m']"),
        ("ollama/", "No Ollama model is named"),
        ("Ollama/ ", "No Ollama model is named"),
        ("/", "No Ollama model is named"),
        ("-cloud", "No Ollama model is named"),
        (":Cloud", "No Ollama model is named"),
    ],
)
def test_what_names_no_model_is_refused(name, words):
    with pytest.raises(UnknownModelError) as refused:
        check_model_name(name)

    assert words in str(refused.value)


def test_headers_in_the_clear_to_a_local_network_have_to_be_allowed():
    arguments = {"local_url": "http://gpu:1", "headers": {"Authorization": "Bearer x"}}

    with pytest.raises(ConfigurationError, match="https"):
        build_endpoints(**arguments)

    assert bearer(build_endpoints(**arguments, allow_insecure=True).local) == "Bearer x"


@pytest.mark.parametrize("suffix", ["/v1", "/v1/", "/api"])
@pytest.mark.parametrize("given", ["base_url", "local_url", "several"])
def test_a_constructor_cuts_the_path_of_an_api_off_with_one_warning(caplog, given, suffix):
    url = f"http://127.0.0.1:11434{suffix}"
    named = {"base_url": [url, "http://127.0.0.1:1"]} if given == "several" else {given: url}

    assert build_endpoints(**named).local.base_url == "http://127.0.0.1:11434"
    assert len(caplog.messages) == 1
    assert "which is cut off" in caplog.text
