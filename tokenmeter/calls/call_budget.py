"""`CallBudget`: what one open call asks of the budgets, before it is sent, and what it tells them when it settles.

`Tokenmeter.open_call` gives a call one where budgets may be for it. Hooks ask with `admit` (or `await admit_async`)
before anything is sent: a refused call settles as `refused`, and BudgetExceeded reaches the caller. A call that was
never asked for, such as one result of a batch, is charged when it settles.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from tokenmeter._support.empty import EMPTY
from tokenmeter._support.guard import guard, let_through
from tokenmeter.budgets.answer_length import AnswerLength
from tokenmeter.budgets.lines import CallFacts
from tokenmeter.errors import BudgetExceeded
from tokenmeter.record import End, Record

if TYPE_CHECKING:
    from tokenmeter.budgets.budget import Budget
    from tokenmeter.budgets.enforcer import Enforcer
    from tokenmeter.budgets.reservation import BudgetReservation
    from tokenmeter.calls.opencall import OpenCall

__all__ = ["CallBudget"]


class CallBudget:
    """The budgets of one call: asked once, settled once."""

    __slots__ = ("_asked", "_body", "_enforcer", "_length", "_reservation", "_scopes")

    def __init__(self, enforcer: Enforcer, body: object, scopes: tuple[tuple[Budget, str], ...]) -> None:
        self._enforcer = enforcer
        self._body = body
        self._scopes = scopes
        self._asked = False
        self._length = AnswerLength()
        self._reservation: BudgetReservation | None = None

    @property
    def windows(self) -> Mapping[str, str]:
        """The windows that the call is reserved in, by budget."""
        return self._reservation.windows if self._reservation is not None else EMPTY

    @property
    def flags(self) -> tuple[str, ...]:
        """What the record says of the call's budgets, such as an overrun."""
        return self._reservation.flags if self._reservation is not None else ()

    def admit(self, call: OpenCall) -> None:
        """Ask the budgets, once. Raises BudgetExceeded, after the call has settled as refused."""
        if self._asked:
            return
        self._asked = True
        try:
            with guard("asking the budgets"):
                self._reservation = self._enforcer.admit(self._facts(call))
        except BaseException as error:
            self._refused(call, error)
            raise
        finally:
            self._body = None

    async def admit_async(self, call: OpenCall) -> None:
        """`admit` for a coroutine."""
        if self._asked:
            return
        self._asked = True
        try:
            with guard("asking the budgets"):
                self._reservation = await self._enforcer.admit_async(self._facts(call))
        except BaseException as error:
            self._refused(call, error)
            raise
        finally:
            self._body = None

    def _facts(self, call: OpenCall) -> CallFacts:
        route = call.route
        return CallFacts(
            call.id,
            route.provider,
            call.request_model,
            route.api,
            call.tags,
            self._body,
            call.stream,
            self._scopes,
            call.params,
            route.region,
        )

    @staticmethod
    def _refused(call: OpenCall, error: BaseException) -> None:
        let_through(error)
        end = End.REFUSED if isinstance(error, BudgetExceeded) else End.CANCELLED
        call.lifecycle.settle(call, end, error)

    def grow(self, chunks: Iterable[bytes]) -> BaseException | None:
        """Hold more for an answer of which these pieces have come; the error where a budget ends the stream."""
        if self._reservation is None:
            return None
        self._length.add(chunks)
        error = self._enforcer.grow(self._reservation, self._length.tokens)
        if error is not None:
            let_through(error)
        return error

    def settle(self, call: OpenCall, record: Record) -> None:
        """Charge what the call cost; for the lifecycle, once."""
        if self._reservation is not None:
            self._enforcer.settle(self._reservation, record)
        elif not self._asked:
            self._enforcer.charge(self._facts(call), record)
