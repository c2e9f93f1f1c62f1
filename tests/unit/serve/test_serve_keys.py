"""Keys in their file, found and forgotten while a server runs; buckets on a clock that the test turns."""

import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanlin.base.errors import ConfigError
from hanlin.serve.keys import SCOPES, Key, KeyRing, add_key, digest, read_keys, revoke_key
from hanlin.serve.rates import Bucket, Rates


def test_a_key_is_kept_only_as_a_digest(tmp_path):
    path = tmp_path / "private" / "keys.json"
    secret = add_key(path, "ann", ("generate",), requests_per_minute=5)
    assert secret not in path.read_text("utf-8")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (key,) = read_keys(path)
    assert (key.name, key.scopes, key.requests_per_minute, key.digest) == (
        "ann",
        ("generate",),
        5,
        digest(secret),
    )
    assert KeyRing(path).find(secret) == key
    assert KeyRing(path).find(secret + "x") is None
    assert KeyRing(path).find(key.digest) is None


def test_keys_come_and_go_while_the_server_runs(tmp_path):
    path = tmp_path / "keys.json"
    ring = KeyRing(path)
    assert not ring.is_open  # a file that is empty, or not there yet, lets nobody in
    first = add_key(path, "ann")
    second = add_key(path, "bob")
    assert [ring.find(secret).name for secret in (first, second)] == ["ann", "bob"]
    revoke_key(path, "ann")
    assert ring.find(first) is None
    assert ring.find(second).name == "bob"


def test_a_key_ends_with_its_time(tmp_path):
    path = tmp_path / "keys.json"
    assert KeyRing(path).find(add_key(path, "late", days=-1)) is None
    assert KeyRing(path).find(add_key(path, "early", days=1)).name == "early"


def test_the_single_key_may_do_everything(tmp_path):
    ring = KeyRing(None, "schlüssel")
    assert ring.find("schlüssel").scopes == SCOPES
    assert not ring.is_open
    assert KeyRing(None).is_open


def test_wrong_names_and_files_are_told(tmp_path):
    path = tmp_path / "keys.json"
    add_key(path, "ann")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="already"):
        add_key(path, "ann")
    with pytest.raises(ConfigError, match=r"no key named 'bob'.*\n.*ann"):
        revoke_key(path, "bob")
    assert path.read_bytes() == before
    path.write_text('[{"name": "x", "digest": "plain text"}]', "utf-8")
    with pytest.raises(ConfigError, match="no file of keys"):
        KeyRing(path)
    if os.geteuid() != 0:
        path.chmod(0)
        with pytest.raises(ConfigError, match="no file of keys"):
            read_keys(path)


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@given(st.integers(1, 1000), st.lists(st.tuples(st.floats(0, 30), st.floats(0, 500)), max_size=30))
def test_a_bucket_never_gives_more_than_its_rate(per_minute, asks):
    clock = Clock()
    bucket, taken, began = Bucket(per_minute, clock), 0.0, clock.now
    for seconds, amount in asks:
        clock.now += seconds
        amount = min(amount, per_minute)
        if bucket.wait(amount) == 0:
            bucket.take(amount)
            taken += amount
        assert taken <= per_minute * (1 + (clock.now - began) / 60) + 1e-6
        assert 0 <= bucket.left <= per_minute


def test_a_bucket_tells_how_long_to_wait():
    clock = Clock()
    bucket = Bucket(60, clock)
    bucket.take(100)  # an answer that was longer than foreseen
    assert bucket.wait(1) == pytest.approx(41)
    clock.now += 41
    assert bucket.wait(1) == 0
    assert bucket.wait(1000) == pytest.approx(59)  # more than it holds: when it is full


def test_each_key_has_its_own_minute_and_new_limits_begin_anew():
    rates = Rates(Clock())
    ann, bob = (Key(name=name, digest=digest(name), requests_per_minute=2) for name in ("ann", "bob"))
    rates.of(ann).requests.take(2)
    assert (rates.of(ann).requests.left, rates.of(bob).requests.left) == (0, 2)
    assert rates.of(ann).tokens is None
    assert rates.of(ann).headers() == {
        "x-ratelimit-limit-requests": "2",
        "x-ratelimit-remaining-requests": "0",
    }
    assert rates.of(ann.model_copy(update={"requests_per_minute": 9})).requests.left == 9
