"""The tables of the store; `migrations` bring an older one here.

Feedback is only ever added: who changes a mind adds another line, and the last one counts. Rows go when their user asks,
or when the time is over for which they may be kept.
"""

from sqlalchemy import JSON, Column, Float, ForeignKey, Index, Integer, MetaData, String, Table, Text

metadata = MetaData()

conversations = Table(
    "conversations",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("user", String(255), nullable=False),
    Column("title", Text, nullable=False),
    Column("begun_at", Float(53), nullable=False),
    Column("changed_at", Float(53), nullable=False),
    Index("conversations_of_user", "user", "changed_at"),
)

turns = Table(
    "turns",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column(
        "conversation",
        String(64),
        ForeignKey("conversations.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("parent", String(64)),
    Column("role", String(16), nullable=False),
    Column("content", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("at", Float(53), nullable=False),
)

feedback = Table(
    "feedback",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("user", String(255), nullable=False, index=True),
    Column("at", Float(53), nullable=False),
    Column("conversation", String(64)),
    Column("turn", String(64)),
    Column("model", Text, nullable=False),
    Column("messages", JSON, nullable=False),
    Column("rating", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("correction", Text, nullable=False),
    Column("preferred", Text, nullable=False),
    Column("parameters", JSON, nullable=False),
)
