"""The batch in hand: what stays in it while the file is not written, and who hears of a commit."""

from __future__ import annotations

from collections import deque
from pathlib import Path

from tests.rigs.ledger_rows import rows
from tests.rigs.made_records import record
from tokenmeter.ledger.batch import COMMIT_RECORDS, Batch, Waiting
from tokenmeter.ledger.wakeups import FlushMark


def batch_for(path: Path) -> Batch:
    return Batch(str(path), lambda: None)


def test_a_batch_takes_no_more_than_its_size_and_leaves_the_rest_waiting(path: Path) -> None:
    queue: Waiting = deque(record(id=f"r{number}") for number in range(COMMIT_RECORDS + 7))
    batch = batch_for(path)
    assert batch.fill(queue, ending=False)
    assert (len(batch), len(queue)) == (COMMIT_RECORDS, 7)
    assert batch.commit(queue)
    assert batch.fill(queue, ending=True)
    assert batch.commit(queue)
    assert not batch.fill(queue, ending=True)
    assert [row["id"] for row in rows(path, "id")] == [f"r{number}" for number in range(COMMIT_RECORDS + 7)]
    assert batch.written == COMMIT_RECORDS + 7


def test_what_the_file_does_not_take_stays_in_hand_and_every_flush_learns_of_it(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "spend.db"
    reached, behind = FlushMark(), FlushMark()
    queue: Waiting = deque([record(), reached])
    batch = batch_for(path)
    assert batch.fill(queue, ending=False)
    assert not batch.commit(queue)
    assert reached.wait(0)
    assert not reached.done
    queue += [record(), behind]
    assert not batch.commit(queue)
    assert behind.wait(0)
    assert not behind.done
    assert (len(batch), batch.written) == (1, 0)
    path.parent.mkdir()
    batch.fill(queue, ending=False)
    assert batch.commit(queue)
    assert (len(rows(path)), batch.written) == (2, 2)


def test_losses_that_could_not_be_written_are_written_with_the_next_batch(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "spend.db"
    batch = batch_for(path)
    batch.losses.add(5, 3, "no room")
    batch.fill(deque([record(), FlushMark()]), ending=False)
    assert not batch.commit(deque())
    batch.losses.add(9, 1, "no room")
    path.parent.mkdir()
    assert batch.commit(deque())
    found = [(row["first_us"], row["last_us"], row["calls"]) for row in rows(path, table="losses")]
    assert sum(calls for _, _, calls in found) == batch.losses.total == 4
    assert (min(first for first, _, _ in found), max(last for _, last, _ in found)) == (5, 9)
