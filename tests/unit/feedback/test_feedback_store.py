"""The store on SQLite and PostgreSQL: conversations, feedback, masking, rights of users, databases that are away."""

import subprocess
import sys
import threading
import time

import pytest
from sqlalchemy import create_engine, inspect, text

from hanlin.base.errors import CheckpointError, ConfigError, NewerFormatError, RequestError
from hanlin.base.records import Message
from hanlin.feedback import tables
from hanlin.feedback.conversations import title_of
from hanlin.feedback.database import migrate, open_database
from hanlin.feedback.records import Conversation, Feedback
from hanlin.feedback.store import AwayError, Store


def asked(content="你好，how are you?"):
    return Message(role="user", content=content)


def answered(content="很好。Fine."):
    return Message(role="assistant", content=content)


def opinion(id="f1", user="ann", **values):
    return Feedback(
        **{
            "id": id,
            "user": user,
            "at": time.time(),
            "messages": (asked(), answered()),
            "rating": 1,
            **values,
        }
    )


def test_a_conversation_comes_back_as_it_was_said(store):
    begun = store.begin("ann")
    first, second = store.add_turns("ann", begun.id, [asked(), answered()], model="m")
    (third,) = store.add_turns("ann", begun.id, [answered("Another answer")], model="n", parent=first)
    kept = store.conversation("ann", begun.id)
    assert [(turn.id, turn.parent, turn.role, turn.content, turn.model) for turn in kept.turns] == [
        (first, None, "user", "你好，how are you?", ""),
        (second, first, "assistant", "很好。Fine.", "m"),
        (third, first, "assistant", "Another answer", "n"),
    ]
    assert kept.title == "你好，how are you?"
    assert kept.changed_at >= kept.begun_at


def test_conversations_are_listed_found_renamed_and_deleted(store):
    ids = []
    for question in ("Recipe for 饺子", "100% of what_ever", "Weather"):
        ids.append(store.begin("ann").id)
        store.add_turns("ann", ids[-1], [asked(question), answered()])
    assert [one.id for one in store.conversations("ann")] == ids[::-1]
    for search, found in (("饺子", 0), ("100% of", 1), ("what_ever", 1), ("WEATHER", 2)):
        assert [one.id for one in store.conversations("ann", search)] == [ids[found]], search
    assert store.conversations("ann", "what%ever") == []
    assert len(store.conversations("ann", "很好")) == 3
    last = store.conversations("ann", limit=1)[0]
    assert [one.id for one in store.conversations("ann", before=last.changed_at)] == ids[1::-1]
    assert store.rename("ann", ids[0], "Dumplings").title == "Dumplings"
    store.delete_conversation("ann", ids[0])
    with pytest.raises(RequestError, match="no conversation"):
        store.conversation("ann", ids[0])
    assert [one.id for one in store.conversations("ann")] == ids[:0:-1]


def test_nobody_reaches_what_is_anothers(store):
    own = store.begin("ann", "private").id
    store.begin("bob")
    for reach in (
        lambda: store.conversation("bob", own),
        lambda: store.rename("bob", own, "x"),
        lambda: store.delete_conversation("bob", own),
        lambda: store.add_turns("bob", own, [asked()]),
    ):
        with pytest.raises(RequestError, match="no conversation"):
            reach()
    assert store.conversations("bob", "private") == []
    assert store.conversation("ann", own).title == "private"


def test_a_turn_follows_one_of_its_own_conversation(store):
    one, other = store.begin("ann").id, store.begin("ann").id
    (turn,) = store.add_turns("ann", one, [asked()])
    with pytest.raises(RequestError, match="no turn"):
        store.add_turns("ann", other, [answered()], parent=turn)
    assert store.conversation("ann", other).turns == ()


def test_feedback_is_added_once_and_read_in_order(store):
    opinions = [opinion(f"f{n}", rating=n % 3 - 1, parameters={"temperature": 0.5}) for n in range(5)]
    assert store.add_feedback(opinions[:3])
    assert store.add_feedback(opinions)  # a client that tries again
    numbers, kept = zip(*store.feedback(), strict=True)
    assert list(kept) == opinions
    assert list(numbers) == sorted(numbers)
    assert [one.id for _, one in store.feedback(after=numbers[2])] == ["f3", "f4"]


def test_personal_data_are_masked_before_they_are_kept(store, url):
    private = "write to ann@firm.cn or call 13912876543"
    begun = store.begin("ann", private)
    store.add_turns("ann", begun.id, [asked(private), answered(private)])
    store.add_feedback(
        [opinion(messages=(asked(private),), reason=private, correction=private, preferred=private)]
    )
    everything = "".join(one.model_dump_json() for one in store.export("ann"))
    assert "ann@firm.cn" not in everything
    assert "13912876543" not in everything
    assert everything.count("<EMAIL>") == 7
    assert everything.count("<PHONE>") == 7


def test_a_user_can_take_everything_along_and_have_it_deleted(store):
    for user in ("ann", "bob"):
        begun = store.begin(user)
        store.add_turns(user, begun.id, [asked(), answered()])
        store.add_feedback([opinion(f"of {user}", user)])
    taken = list(store.export("ann"))
    assert [type(one) for one in taken] == [Conversation, Feedback]
    assert len(taken[0].turns) == 2
    assert store.delete_user("ann") == {"conversations": 1, "feedback": 1}
    assert list(store.export("ann")) == []
    assert len(list(store.export("bob"))) == 2


def test_what_is_too_old_is_deleted(store):
    begun = store.begin("ann")
    store.add_turns("ann", begun.id, [asked()])
    store.add_feedback([opinion("old", at=time.time() - 40 * 86_400), opinion("new")])
    assert store.expire(30) == {"conversations": 0, "feedback": 1}
    assert [one.id for _, one in store.feedback()] == ["new"]
    time.sleep(0.01)
    assert store.expire(0) == {"conversations": 1, "feedback": 1}


def test_threads_lose_nothing(store):
    threads = [
        threading.Thread(
            target=lambda part=part: [store.add_feedback([opinion(f"{part}-{n}")]) for n in range(5)]
        )
        for part in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {one.id for _, one in store.feedback()} == {f"{part}-{n}" for part in range(4) for n in range(5)}


def test_migrations_make_the_tables_that_the_code_uses(store, url):
    assert store.ready()
    found = inspect(open_database(url))
    for table in tables.metadata.sorted_tables:
        columns = {column["name"]: column for column in found.get_columns(table.name)}
        assert columns.keys() == {column.name for column in table.columns}
        for column in table.columns:
            assert columns[column.name]["nullable"] == column.nullable, column
        indexes = {tuple(index["column_names"]) for index in found.get_indexes(table.name)}
        assert indexes >= {tuple(column.name for column in index.columns) for index in table.indexes}


def test_a_store_of_a_newer_version_is_left_alone(store, url):
    store.begin("ann")
    database = open_database(url)
    with database.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(NewerFormatError, match="newer Hanlin"):
        Store(url, store._waiting._path.parent).ready()


def test_a_file_that_is_no_database_is_not_touched(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("my notes, long enough to be read as a header of a database file " * 20, "utf-8")
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match="cannot be read"):
        Store(f"sqlite:///{path}", tmp_path).ready()
    assert path.read_bytes() == before


@pytest.mark.parametrize("url", ["mysql://host/db", "feedback.sqlite", "sqlite://", ""])
def test_other_addresses_are_refused(url, tmp_path):
    with pytest.raises(ConfigError, match="no address of a store"):
        Store(url, tmp_path)


def test_feedback_waits_on_the_disk_while_the_database_is_away(server, tmp_path):
    url = server.create()
    store = Store(url, tmp_path)
    assert store.add_feedback([opinion("before")])
    server.stop()
    try:
        assert not store.add_feedback([opinion("during", reason="mail ann@firm.cn")])
        assert store.waiting == 1
        assert b"ann@firm.cn" not in (tmp_path / "waiting.jsonl").read_bytes()
        with pytest.raises(AwayError, match="does not answer"):
            store.conversations("ann")
        fresh = Store(url, tmp_path)  # a server that starts while the database is away
        assert not fresh.ready()
        assert not fresh.add_feedback([opinion("after the restart")])
    finally:
        server.start()
    assert fresh.ready()
    assert fresh.waiting == 0
    assert [one.id for _, one in fresh.feedback()] == ["before", "during", "after the restart"]


def test_a_line_torn_by_a_crash_spoils_no_other(tmp_path):
    store = Store.at(str(tmp_path))
    (tmp_path / "waiting.jsonl").write_bytes(opinion("whole").model_dump_json().encode() + b'\n{"id": "to')
    store._waiting.keep([opinion("later")])
    assert store.ready()
    assert [one.id for _, one in store.feedback()] == ["whole", "later"]


KEEPS_ON = """
import sys, time
from pathlib import Path
from hanlin.base.records import Message
from hanlin.feedback.records import Feedback
from hanlin.feedback.store import AwayError, Store
store = Store(sys.argv[1], Path(sys.argv[2]))
for number in range(100_000):
    message = Message(role="assistant", content="x" * 1000)
    store.add_feedback([Feedback(id=str(number), user="ann", at=time.time(), messages=(message,), rating=1)])
    print(number, flush=True)
"""


def test_what_was_acknowledged_survives_a_kill(url, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", KEEPS_ON, url, str(tmp_path / "waiting")], stdout=subprocess.PIPE, text=True
    )
    last = -1
    for line in process.stdout:
        last = int(line)
        if last >= 20:
            process.kill()
            break
    last = max([last, *map(int, process.stdout.read().split())])
    process.wait()
    store = Store(url, tmp_path / "waiting")
    kept = {int(one.id) for _, one in store.feedback()}
    assert kept >= set(range(last + 1))
    assert store.add_feedback([opinion("next")])


def test_two_processes_that_start_together_make_the_tables_once(url, tmp_path):
    stores = [Store(url, tmp_path / str(n)) for n in range(4)]
    found = []
    threads = [threading.Thread(target=lambda one=one: found.append(one.ready())) for one in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4


def test_an_older_store_is_brought_to_this_version(tmp_path):
    """Version 1 is the first: the step from nothing keeps what else is in the database."""
    database = create_engine(f"sqlite:///{tmp_path / 'old.sqlite'}")
    with database.begin() as connection:
        connection.execute(text("CREATE TABLE other (a INTEGER)"))
        connection.execute(text("INSERT INTO other VALUES (7)"))
    opened = open_database(f"sqlite:///{tmp_path / 'old.sqlite'}")
    migrate(opened)
    migrate(opened)
    with opened.connect() as connection:
        assert connection.execute(text("SELECT a FROM other")).scalar_one() == 7


def test_titles_are_cut_at_words():
    assert title_of("\n  Hello there\nsecond line") == "Hello there"
    assert title_of("word " * 30) == "word " * 11 + "word…"
    assert title_of("字" * 100) == "字" * 60 + "…"
    assert title_of("  ") == ""
