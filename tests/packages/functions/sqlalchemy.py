from sqlalchemy import ForeignKey, create_engine, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship


class Base(DeclarativeBase):
    pass


class Node(Base):
    __tablename__ = "node"
    name: Mapped[str] = mapped_column(primary_key=True)
    readings: Mapped[list["Reading"]] = relationship()


class Reading(Base):
    __tablename__ = "reading"
    id: Mapped[int] = mapped_column(primary_key=True)
    node: Mapped[str] = mapped_column(ForeignKey("node.name"))
    value: Mapped[float]


def call() -> object:
    """Map two classes to tables in memory, store objects and join them."""
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Node(name="sat1", readings=[Reading(value=1.5), Reading(value=2.5)]))
        session.commit()
        average = select(Node.name, func.avg(Reading.value)).join(Reading).group_by(Node.name)
        return [list(row) for row in session.execute(average)], str(average)
