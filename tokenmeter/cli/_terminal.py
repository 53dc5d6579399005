"""Colour and progress on a terminal, written by rich, which the extra `cli` installs.

Text is printed plain, and no progress is shown, where rich is not installed, where the stream is not a terminal (a
pipe, a file), and where TERM says `dumb`. NO_COLOR, set to anything, switches colour off (no-color.org). Widths are
those of the terminal, or of COLUMNS, or 80.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, Final

__all__ = ["columns", "is_terminal", "progress", "show"]

_DELAY: Final = 0.5
"""Seconds after which progress is shown: shorter work ends without a flicker."""


def columns() -> int:
    """The width that tables are laid out for."""
    return shutil.get_terminal_size().columns


def show(text: str, styles: Mapping[str, str]) -> None:
    """Print lines of text; on a terminal each match of a pattern of `styles` (by line) is drawn in its style.

    A style is words of rich's, such as `bold red`; where patterns overlap the later is drawn over the earlier.
    """
    if not is_terminal(sys.stdout) or os.environ.get("NO_COLOR"):
        print(text)
        return
    try:
        from rich.console import Console
        from rich.text import Text
    except ImportError:
        print(text)
        return
    styled = Text(text)
    for pattern, style in styles.items():
        styled.highlight_regex(f"(?m){pattern}", style)
    Console(highlight=False).print(styled, soft_wrap=True)


@contextlib.contextmanager
def progress(what: str, total: int | None = None, *, prints: bool = False) -> Iterator[Callable[[int], None]]:
    """Show on standard error how far work is, if it takes long; yields the function that is given what is done so far.

    `total` and what is done are bytes; without a total only the time is shown. `prints` says that the work writes to
    standard output: then nothing is shown where that is a terminal too, because the lines would mix.
    """
    shown = is_terminal(sys.stderr) and not (prints and is_terminal(sys.stdout))
    bar = _bar(counts=prints) if shown else None
    if bar is None:
        yield lambda done: None
        return
    task = bar.add_task(what, total=total)
    starter = threading.Timer(_DELAY, bar.start)
    starter.daemon = True
    starter.start()
    try:
        yield lambda done: bar.update(task, completed=done)
    finally:
        starter.cancel()
        starter.join()
        bar.stop()


def is_terminal(stream: IO[str] | None) -> bool:
    """Whether a person watches this stream on a terminal that can move its cursor."""
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def _bar(*, counts: bool) -> Any:
    """A progress bar that is not drawn yet and that leaves nothing behind; None without rich."""
    try:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
    except ImportError:
        return None
    columns = (DownloadColumn(), TimeRemainingColumn()) if counts else (TimeElapsedColumn(),)
    name = TextColumn("{task.description}", markup=False)
    return Progress(
        name, BarColumn(), *columns, console=Console(stderr=True), transient=True, redirect_stdout=False,
        redirect_stderr=False,
    )  # fmt: skip
