"""Durations and sizes."""

from datetime import timedelta

import pytest

from reconciler.units import duration, size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15m", 900), ("6h", 21600), ("7d", 604800), ("2w", 1209600), ("0s", 0)],
)
def test_durations(text: str, seconds: int) -> None:
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "7", "d", "-7d", "7 d", "1.5h", "7D", "1h30m", "\N{ARABIC-INDIC DIGIT SEVEN}d", "7d\n"]
)
def test_what_is_no_duration_says_what_one_is(text: str) -> None:
    with pytest.raises(ValueError, match="like 90s or 7d"):
        duration(text)


def test_a_duration_beyond_all_calendars_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        duration("999999999999w")


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0B", 0),
        ("512B", 512),
        ("500MB", 500_000_000),
        ("10GiB", 10 * 2**30),
        ("1.5KiB", 1536),
        ("1kB", 1000),
    ],
)
def test_sizes(text: str, count: int) -> None:
    assert size(text) == count


@pytest.mark.parametrize("text", ["", "10", "GB", "-1GB", "10 GB", "10gb", "1e3B", "10GiB "])
def test_what_is_no_size_says_what_one_is(text: str) -> None:
    with pytest.raises(ValueError, match="like 500MB or 10GiB"):
        size(text)


def test_a_part_of_a_byte_is_refused() -> None:
    with pytest.raises(ValueError, match="whole number of bytes"):
        size("0.5B")
