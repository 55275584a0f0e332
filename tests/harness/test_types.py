"""The types that stages hand on: what they do besides holding."""

from draftmark.types import Ledger


def test_two_ledgers_add_up_but_for_the_peak() -> None:
    first = Ledger(steps=1, flops=2.0, train_s=0.5, peak_bytes=7)
    second = Ledger(steps=2, reference_forward_tokens=3, peak_bytes=5)
    expected = Ledger(steps=3, flops=2.0, train_s=0.5, reference_forward_tokens=3, peak_bytes=7)
    assert first + second == expected
