"""Sends budget events to people: to any address that Apprise takes (DingTalk, Feishu, WeCom, Slack, mail …).

Sending is off the path of calls, on a thread of its own, each with a time limit; what cannot be sent is logged once and
dropped. A message names the budget, the window and amounts, never a prompt or a key.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from queue import Empty, Full, Queue
from typing import Any, Final

from tokenmeter._support.fork import on_fork
from tokenmeter._support.guard import guard, logger
from tokenmeter.budgets.watch import BudgetEvent
from tokenmeter.errors import ConfigurationError, MissingExtra
from tokenmeter.money import plain

__all__ = ["LANGUAGES", "Alerts", "check_addresses", "message_of", "send"]

LANGUAGES: Final = ("en", "zh")
_WAITING_MOST: Final = 100
_SECONDS: Final = 10


class Alerts:
    """Sends the messages of events, one after another. `addresses` are Apprise URLs."""

    def __init__(self, addresses: Sequence[str], language: str) -> None:
        self._addresses = tuple(addresses)
        self._language = language
        self.forked()
        on_fork(self)

    def forked(self) -> None:
        """In a child process: no thread, and none of the parent's messages."""
        self._waiting: Queue[BudgetEvent] = Queue(_WAITING_MOST)
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def __call__(self, event: BudgetEvent) -> None:
        """Send the event's message soon."""
        try:
            self._waiting.put_nowait(event)
        except Full:
            logger.warning("budget alerts wait for an address that does not answer: one is dropped")
            return
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="tokenmeter-alerts", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                event = self._waiting.get(timeout=60)
            except Empty:
                return
            with guard("sending a budget alert"):
                title, body = message_of(event, self._language)
                send(self._addresses, title, body)


def check_addresses(addresses: Sequence[str], place: str) -> None:
    """Raise ConfigurationError naming the address that Apprise does not take, MissingExtra where it is missing."""
    apprise = _apprise()
    for address in addresses:
        if apprise.Apprise.instantiate(address, suppress_exceptions=True) is None:
            kind = address.partition(":")[0]  # what follows is often a key
            raise ConfigurationError(
                f"{place}: the {kind}: address is none that Apprise takes; forms are at github.com/caronc/apprise/wiki"
            )


def send(addresses: Sequence[str], title: str, body: str) -> bool:
    """Send one message to every address; whether all took it. Each has a time limit of 10 s."""
    apprise = _apprise()
    sent = True
    for address in addresses:
        limited = f"{address}{'&' if '?' in address else '?'}cto={_SECONDS}&rto={_SECONDS}"
        messenger = apprise.Apprise()
        messenger.add(limited)
        if not messenger.notify(body=body, title=title):
            sent = False
            logger.warning("a budget alert was not taken by its %s: address", address.partition(":")[0])
    return sent


def _apprise() -> Any:
    try:
        import apprise
    except ImportError:
        raise MissingExtra("alerts need Apprise", "alerts") from None
    return apprise


_TITLES: Final = {
    ("threshold", "en"): "Budget {series}: {share}% spent",
    ("threshold", "zh"): "预算 {series}:已用 {share}%",
    ("refused", "en"): "Budget {series}: calls are refused",
    ("refused", "zh"): "预算 {series}:调用被拒绝",
}
_BODIES: Final = {
    "en": "{spent} of {limit} {unit} spent in {window}.",
    "zh": "{window}:已用 {spent} {unit},上限 {limit} {unit}。",
}


def message_of(event: BudgetEvent, language: str) -> tuple[str, str]:
    """Title and body of an event's message."""
    values = {
        "series": event.series,
        "share": plain((event.share or 0) * 100),
        "spent": plain(event.spent),
        "limit": plain(event.limit),
        "unit": event.unit,
        "window": event.window,
    }
    return _TITLES[event.kind, language].format(**values), _BODIES[language].format(**values)
