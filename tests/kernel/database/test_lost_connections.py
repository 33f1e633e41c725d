"""The errors by which providers of STATEMENTS say that a connection broke."""

import caudex
from kernel.database import dialect
from kernel.errors import Unavailable


def test_a_provider_raises_what_the_contract_names() -> None:
    assert caudex.OutcomeUnknown is dialect.OutcomeUnknown
    assert caudex.ConnectionLost is dialect.ConnectionLost
    error = caudex.OutcomeUnknown()
    assert isinstance(error, caudex.ConnectionLost)
    assert isinstance(error, Unavailable)
    assert (error.status, error.headers) == (503, {})
