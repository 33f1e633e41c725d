"""The same collection written by hand, the way a tutorial does it: FastAPI, SQLAlchemy, asyncpg.

No roles, no audit trail, no check of tokens. Runs in `.bench/`; `PEER_DATABASE` holds the
connection as JSON.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import AsyncGenerator
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

import jwt
from fastapi import Depends, FastAPI, HTTPException
from fastapi.concurrency import run_in_threadpool
from pwdlib import PasswordHash
from pydantic import BaseModel, ConfigDict
from sqlalchemy import ForeignKey, func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, selectinload
from sqlalchemy.types import DateTime

engine = create_async_engine(
    "postgresql+asyncpg://",
    connect_args=json.loads(os.environ["PEER_DATABASE"]),
    pool_size=10,
    max_overflow=0,
)
sessions = async_sessionmaker(engine, expire_on_commit=False)
passwords = PasswordHash.recommended()
app = FastAPI()
SECRET = uuid.uuid4().hex


class Base(DeclarativeBase):
    """Base of the tables."""


class Company(Base):
    """What deals link to."""

    __tablename__ = "companies"
    __table_args__ = ({"schema": "peer"},)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    industry: Mapped[str | None]
    website: Mapped[str | None]
    phone: Mapped[str | None]
    address: Mapped[str | None]
    notes: Mapped[str | None]


class Deal(Base):
    """A row."""

    __tablename__ = "deals"
    __table_args__ = ({"schema": "peer"},)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    title: Mapped[str]
    value: Mapped[float | None]
    stage: Mapped[str]
    contact_id: Mapped[uuid.UUID | None]
    company_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Company.id))
    company: Mapped[Company | None] = relationship(lazy="raise")
    close_date: Mapped[date | None]
    notes: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class Account(Base):
    """Who may log in."""

    __tablename__ = "accounts"
    __table_args__ = ({"schema": "peer"},)

    username: Mapped[str] = mapped_column(primary_key=True)
    password_hash: Mapped[str]


class LoginIn(BaseModel):
    """Name and password."""

    username: str
    password: str


class DealPatch(BaseModel):
    """What is to change."""

    title: str | None = None
    value: float | None = None
    stage: str | None = None
    notes: str | None = None


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


class CompanyOut(BaseModel):
    """A company within a deal."""

    model_config = ConfigDict(from_attributes=True)

    id: uuid.UUID
    name: str
    industry: str | None
    website: str | None
    phone: str | None
    address: str | None
    notes: str | None


class DealWithCompany(DealOut):
    """A deal and its company."""

    company: CompanyOut | None


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
async def list_deals(
    db: Session,
    limit: int = 20,
    stage: str | None = None,
    industry: str | None = None,
    expand: str | None = None,
) -> list[DealWithCompany] | list[DealOut]:
    """A page, with the companies where they are wanted."""
    query = select(Deal).order_by(Deal.created_at.desc(), Deal.id.desc()).limit(limit)
    if stage is not None:
        query = query.where(Deal.stage == stage)
    if industry is not None:
        query = query.join(Deal.company).where(Company.industry == industry)
    if expand is None:
        return [DealOut.model_validate(deal) for deal in await db.scalars(query)]
    query = query.options(selectinload(Deal.company))
    return [DealWithCompany.model_validate(deal) for deal in await db.scalars(query)]


@app.post("/deals", status_code=201)
async def create_deal(body: DealIn, db: Session) -> DealOut:
    """A new row."""
    deal = Deal(**body.model_dump())
    db.add(deal)
    await db.commit()
    return DealOut.model_validate(deal)


@app.patch("/deals/{deal_id}")
async def update_deal(deal_id: uuid.UUID, body: DealPatch, db: Session) -> DealOut:
    """A row that changes."""
    deal = await db.get(Deal, deal_id)
    if deal is None:
        raise HTTPException(404)
    for name, value in body.model_dump(exclude_unset=True).items():
        setattr(deal, name, value)
    deal.updated_at = datetime.now(UTC)
    await db.commit()
    return DealOut.model_validate(deal)


@app.post("/register", status_code=201)
def register(body: LoginIn) -> str:
    """The hash of a password; any caller that starts the program stores it."""
    return passwords.hash(body.password)


@app.post("/login")
async def log_in(body: LoginIn, db: Session) -> dict[str, str]:
    """A token, the way FastAPI's tutorial makes it."""
    account = await db.get(Account, body.username)
    fits = account is not None and await run_in_threadpool(
        passwords.verify, body.password, account.password_hash
    )
    if not fits:
        raise HTTPException(401)
    claims = {"sub": body.username, "exp": datetime.now(UTC) + timedelta(minutes=15)}
    return {"access_token": jwt.encode(claims, SECRET, "HS256"), "token_type": "bearer"}


@app.post("/deals/bulk", status_code=201)
async def create_deals(body: list[DealIn], db: Session) -> list[DealOut]:
    """Many new rows."""
    deals = [Deal(**each.model_dump()) for each in body]
    db.add_all(deals)
    await db.commit()
    return [DealOut.model_validate(deal) for deal in deals]
