"""Where values came from, read back from the log: the place as it was, and nothing of what was erased."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import fiducial
from fiducial.core.event import CallFinished, ResultObserved
from fiducial.core.ids import DecisionId
from fiducial.guard.explained import explained

BANKING = Path(__file__).parents[2] / "examples" / "charters" / "agentdojo" / "banking"
PAYEE = "GB29NWBK60161331926819"
PRIVATE = "JOHNDOE, Elm Street 9"
PAY = {"recipient": PAYEE, "amount": 5.0, "subject": "Bill", "date": "2026-01-01"}
TEXT = f"Invoice\n{PRIVATE}, so please pay to {PAYEE}."


@pytest.mark.parametrize("called", [False, True])
@pytest.mark.parametrize("result", [TEXT, {"notes": [{"text": TEXT}]}, json.dumps({"notes": [{"text": TEXT}]})])
def test_an_erased_payload_is_gone_from_every_file(tmp_path: Path, result: Any, called: bool) -> None:
    path = tmp_path / "log.db"
    with fiducial.SqliteStore(path) as store:
        guard = fiducial.Guard(fiducial.load_charter(BANKING), store=store)
        with guard.session(user="emma", task="Pay the bill") as session:
            if called:
                session.call("read_file", {"file_path": "bill.txt"}, run=lambda **_: result)
            else:
                session.observe("read_file", {"file_path": "bill.txt"}, result)
            verdict = session.decide("send_money", PAY)
            assert isinstance(verdict, fiducial.Held)
            words = verdict.evidence["recipient"]
            assert "JOHNDOE" in words
            denied = session.decide("send_money", {**PAY, "amount": 6.0}).decision
        store.flush()
        with store.ledger() as ledger:
            found = explained(ledger, DecisionId(verdict.decision))
            assert found is not None
            assert found.evidence["recipient"] == words, "as it was said when it was decided"
            (digest,) = [
                each.ref.digest
                for record in ledger.entries()
                if isinstance(record.event, ResultObserved | CallFinished)
                for each in record.payloads
                if each.ref.role == "result"
            ]
        assert store.erase(digest, by="officer", why="asked for by the person")
        for decision in (verdict.decision, denied):
            with store.ledger() as ledger:
                found = explained(ledger, DecisionId(decision))
                assert found is not None
                assert "erased since" in found.evidence["recipient"]
                ledger.verify()
    for file in tmp_path.iterdir():
        assert b"JOHNDOE" not in file.read_bytes(), file.name
        assert b"Elm Street" not in file.read_bytes(), file.name
