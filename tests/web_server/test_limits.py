"""Rate limits."""

from histosynth.web_server.limits import RateLimiter, network


def test_a_bucket_is_refilled_slowly() -> None:
    at = 0.0
    limiter = RateLimiter(burst=2, per_second=0.5, clock=lambda: at)
    assert [limiter.take("a") for _ in range(3)] == [0, 0, 2]
    assert limiter.retry_after_s("b") == 0
    at = 1.0
    assert limiter.retry_after_s("a") == limiter.take("a") == 1
    at = 2.0
    assert limiter.take("a") == 0
    at = 1000.0
    assert [limiter.take("a") for _ in range(3)] == [0, 0, 2]


def test_the_least_recently_used_bucket_is_discarded_first(monkeypatch) -> None:
    monkeypatch.setattr("histosynth.web_server.limits._MAX_KEYS", 2)
    limiter = RateLimiter(burst=1, per_second=0.001, clock=lambda: 0.0)
    for key in "abc":
        assert limiter.take(key) == 0
    assert limiter.retry_after_s("c") > 0
    assert limiter.retry_after_s("a") == 0


def test_addresses_of_one_ipv6_network_share_a_limit() -> None:
    assert network("2001:db8:1:2:3:4:5:6") == network("2001:db8:1:2::9") == "2001:db8:1:2::/64"
    assert network("2001:db8:1:3::9") != network("2001:db8:1:2::9")
    assert network("192.0.2.7") == "192.0.2.7"
    assert network("testclient") == "testclient"
