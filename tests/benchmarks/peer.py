"""The same collection written by hand, the way a tutorial does it: FastAPI, SQLAlchemy, asyncpg.

No accounts, no roles, no audit trail. Run by `against.py` where the packages are installed;
`PEER_DATABASE` holds the connection as JSON.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import AsyncGenerator
from datetime import date, datetime
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import DateTime

engine = create_async_engine(
    "postgresql+asyncpg://",
    connect_args=json.loads(os.environ["PEER_DATABASE"]),
    pool_size=10,
    max_overflow=0,
)
sessions = async_sessionmaker(engine, expire_on_commit=False)
app = FastAPI()


class Base(DeclarativeBase):
    """Base of the tables."""


class Deal(Base):
    """A row."""

    __tablename__ = "deals"
    __table_args__ = ({"schema": "peer"},)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    title: Mapped[str]
    value: Mapped[float | None]
    stage: Mapped[str]
    contact_id: Mapped[uuid.UUID | None]
    company_id: Mapped[uuid.UUID | None]
    close_date: Mapped[date | None]
    notes: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class DealIn(BaseModel):
    """A body."""

    title: str
    value: float | None = None
    stage: str
    contact_id: uuid.UUID | None = None
    company_id: uuid.UUID | None = None
    close_date: date | None = None
    notes: str | None = None


class DealOut(DealIn):
    """A reply."""

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    created_at: datetime
    updated_at: datetime


async def session() -> AsyncGenerator[AsyncSession]:
    """One session a request."""
    async with sessions() as opened:
        yield opened


Session = Annotated[AsyncSession, Depends(session)]


@app.get("/deals/{deal_id}")
async def get_deal(deal_id: uuid.UUID, db: Session) -> DealOut:
    """One row."""
    deal = await db.get(Deal, deal_id)
    if deal is None:
        raise HTTPException(404)
    return DealOut.model_validate(deal)


@app.get("/deals")
async def list_deals(db: Session, limit: int = 20, stage: str | None = None) -> list[DealOut]:
    """A page."""
    query = select(Deal).order_by(Deal.created_at.desc(), Deal.id.desc()).limit(limit)
    if stage is not None:
        query = query.where(Deal.stage == stage)
    return [DealOut.model_validate(deal) for deal in await db.scalars(query)]


@app.post("/deals", status_code=201)
async def create_deal(body: DealIn, db: Session) -> DealOut:
    """A new row."""
    deal = Deal(**body.model_dump())
    db.add(deal)
    await db.commit()
    return DealOut.model_validate(deal)


@app.post("/deals/bulk", status_code=201)
async def create_deals(body: list[DealIn], db: Session) -> list[DealOut]:
    """Many new rows."""
    deals = [Deal(**each.model_dump()) for each in body]
    db.add_all(deals)
    await db.commit()
    return [DealOut.model_validate(deal) for deal in deals]
