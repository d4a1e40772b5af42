"""Which proxy the environment means, as a table."""

from __future__ import annotations

from typing import Any

import pytest

from taut.clients.kubernetes.proxy import proxy_from_environment

P = "http://proxy:3128"
ROWS: list[Any] = [
    ("https://k8s.example.org", {"HTTPS_PROXY": P}, P),
    ("https://k8s.example.org", {"https_proxy": P}, P),
    ("https://k8s.example.org", {"HTTPS_PROXY": "proxy:3128"}, P),
    ("https://k8s.example.org", {"HTTP_PROXY": P}, ""),
    ("http://k8s.example.org", {"HTTP_PROXY": P}, P),
    ("https://k8s.example.org", {}, ""),
    ("https://localhost:6443", {"HTTPS_PROXY": P}, ""),
    ("https://127.0.0.1:6443", {"HTTPS_PROXY": P}, ""),
    ("https://[::1]:6443", {"HTTPS_PROXY": P}, ""),
    ("https://k8s.example.org", {"HTTPS_PROXY": P, "NO_PROXY": "*"}, ""),
    ("https://k8s.example.org", {"HTTPS_PROXY": P, "NO_PROXY": "other, example.org"}, ""),
    ("https://k8s.example.org", {"HTTPS_PROXY": P, "NO_PROXY": ".example.org"}, ""),
    ("https://example.org", {"HTTPS_PROXY": P, "NO_PROXY": ".example.org"}, P),
    ("https://example.org", {"HTTPS_PROXY": P, "NO_PROXY": "*.example.org"}, P),
    ("https://badexample.org", {"HTTPS_PROXY": P, "NO_PROXY": "example.org"}, P),
    ("https://10.1.2.3", {"HTTPS_PROXY": P, "NO_PROXY": "10.0.0.0/8"}, ""),
    ("https://11.1.2.3", {"HTTPS_PROXY": P, "NO_PROXY": "10.0.0.0/8"}, P),
    ("https://k8s.example.org", {"HTTPS_PROXY": P, "NO_PROXY": "10.0.0.0/8"}, P),
    ("https://k8s.example.org:6443", {"HTTPS_PROXY": P, "no_proxy": "k8s.example.org:6443"}, ""),
    ("https://k8s.example.org:6443", {"HTTPS_PROXY": P, "no_proxy": "k8s.example.org:443"}, P),
    ("https://k8s.example.org", {"HTTPS_PROXY": P, "no_proxy": "k8s.example.org:443"}, ""),
]


@pytest.mark.parametrize(("url", "environ", "proxy"), ROWS)
def test_the_proxy(url: str, environ: dict[str, str], proxy: str) -> None:
    assert proxy_from_environment(url, environ) == proxy
