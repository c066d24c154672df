"""The ledger's page: checking the log holds it to what the store keeps beside it."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from console_world import Browser, attacked_session

from fiducial.console.services import Services
from fiducial.errors import StoreError
from fiducial.store.retained import checkpoint_path
from fiducial.store.sqlite import SqliteStore


def _checked(browser: Browser, services: Services) -> str:
    assert browser.submit("/ledger/verify", page="/ledger").status_code == 303
    deadline = time.monotonic() + 30
    while services.verification.progress.running and time.monotonic() < deadline:
        time.sleep(0.01)
    return browser.get("/ledger").text


def test_verify_now_notices_an_older_copy_and_a_missing_checkpoint(
    store: SqliteStore, services: Services, browser: Browser, tmp_path: Path
) -> None:
    browser.as_(services, "auditor")
    store.flush()
    with closing(sqlite3.connect(store.path)) as there, closing(sqlite3.connect(tmp_path / "older.db")) as older:
        there.backup(older)
        attacked_session(store, services.charter, services.clock)
        assert "all in order" in _checked(browser, services)
        older.backup(there)
    found = _checked(browser, services)
    assert "It does not verify" in found
    assert "an older copy was put in its place" in found
    checkpoint_path(store.path).unlink()
    assert "entries may be missing at the end" in _checked(browser, services)
    with pytest.raises(StoreError, match="cut off or rewritten"):
        store.close()
