"""Records that look like a company's: the same ones each time."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

MARK = "Made by the CRM demo"
"""Marks every record, so that a second run finds the records of the first."""

COMPANIES, CONTACTS, DEALS, ACTIVITIES = 40, 160, 120, 240

# fmt: off
FIRST = ("Northwind", "Blue Harbour", "Alder", "Copperfield", "Lumen", "Granite", "Juniper",
         "Orchard")
SECOND = ("Analytics", "Foods", "Logistics", "Energy", "Health")
INDUSTRIES = ("Technology", "Finance", "Healthcare", "Retail", "Manufacturing", "Real Estate",
              "Education", "Other")
STREETS = ("Mill Lane", "Station Road", "Market Square", "Harbour Street", "Garden Row")
GIVEN = ("Amara", "Ben", "Chiara", "Dmitri", "Elena", "Farid", "Greta", "Hugo", "Ines", "Jonas",
         "Keiko", "Luca", "Maren", "Nadia", "Omar", "Priya")
FAMILY = ("Almeida", "Berger", "Castillo", "Dubois", "Eriksen", "Fontana", "Gruber", "Haddad",
          "Ivanov", "Jansen")
TITLES = ("Head of Purchasing", "Managing Director", "IT Lead", "Operations Manager", "Buyer")
STATUSES = ("Lead", "Prospect", "Customer", "Churned")
STAGES = ("Lead", "Qualified", "Proposal", "Negotiation", "Closed Won", "Closed Lost")
PRODUCTS = ("Licences", "Support contract", "Migration", "Training", "Pilot project", "Renewal")
ACTIONS = {"Call": "Call about", "Email": "Offer for", "Meeting": "Meeting on", "Note": "Note on",
           "Task": "Prepare"}
# fmt: on


class Sample:
    """Makes records; each kind needs the ids of the kinds it links to."""

    def __init__(self, today: date) -> None:
        self._random = random.Random(9100)
        self._today = today

    def companies(self) -> Iterator[Mapping[str, Any]]:
        """The companies."""
        for number in range(COMPANIES):
            name = f"{FIRST[number % len(FIRST)]} {SECOND[number // len(FIRST)]}"
            yield {
                "name": name,
                "industry": self._random.choice(INDUSTRIES),
                "website": f"https://{name.lower().replace(' ', '-')}.example",
                "phone": self._phone(),
                "address": f"{self._random.randint(1, 180)} {self._random.choice(STREETS)}",
                "notes": MARK,
            }

    def contacts(self, companies: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        """The people who work there."""
        for number in range(CONTACTS):
            company = companies[number % len(companies)]
            given, family = GIVEN[number % len(GIVEN)], FAMILY[number // len(GIVEN)]
            host = company["website"].removeprefix("https://")
            yield {
                "first_name": given,
                "last_name": family,
                "email": f"{given}.{family}@{host}".lower(),
                "phone": self._phone(),
                "job_title": self._random.choice(TITLES),
                "company_id": company["id"],
                "status": self._random.choices(STATUSES, (4, 3, 5, 1))[0],
                "notes": MARK,
            }

    def deals(
        self, contacts: Sequence[Mapping[str, Any]], count: int = DEALS
    ) -> Iterator[Mapping[str, Any]]:
        """What is being sold to them."""
        for _ in range(count):
            contact = self._random.choice(contacts)
            product = self._random.choice(PRODUCTS)
            yield {
                "title": f"{product} for {contact['first_name']} {contact['last_name']}",
                "value": self._random.randrange(1_500, 90_000, 500),
                "stage": self._random.choices(STAGES, (5, 4, 4, 3, 3, 2))[0],
                "contact_id": contact["id"],
                "company_id": contact["company_id"],
                "close_date": self._day(-40, 120),
                "notes": MARK,
            }

    def activities(self, deals: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        """What is being done about it."""
        for _ in range(ACTIVITIES):
            deal = self._random.choice(deals)
            kind = self._random.choice(tuple(ACTIONS))
            due = self._day(-30, 30)
            yield {
                "type": kind,
                "subject": f"{ACTIONS[kind]} {deal['title']}",
                "body": MARK,
                "contact_id": deal["contact_id"],
                "deal_id": deal["id"],
                "due_date": due,
                "done": due < self._today.isoformat() and self._random.random() < 0.8,
            }

    def _day(self, earliest: int, latest: int) -> str:
        return (self._today + timedelta(days=self._random.randint(earliest, latest))).isoformat()

    def _phone(self) -> str:
        return f"+44 20 7946 {self._random.randint(0, 999):04}"  # reserved for fiction
