"""What commands say, and how far they are: on the terminal, to a caller's function, or not at all."""

import functools
import inspect
import io
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, ParamSpec, Protocol, TypeVar

import rich.progress
from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.text import Text

from srkd.arguments import check_arguments

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

# Lines are left whole: a path that is cut in two cannot be copied.
console = Console(highlight=False, soft_wrap=True)
errors = Console(highlight=False, soft_wrap=True, stderr=True)


def accept_all_characters() -> None:
    """Makes standard output and error write what their encoding does not have as escapes, instead of failing:
    signs such as ≥ under an ASCII locale, and file names that are no text."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


class Progress(Protocol):
    """Called as work advances: what is being done, how much of it is done, and how much there is."""

    def __call__(self, description: str, done: float, total: float, /) -> None: ...


class Advance(Protocol):
    """Advances a progress bar by an amount, and writes a note behind it."""

    def __call__(self, amount: float, note: str = "", /) -> None: ...


class _Listener(NamedTuple):
    verbose: bool = True
    progress: Progress | None = None
    stderr: bool = False
    answers: bool = False


_LOUD = _Listener()

# Of each thread and task, so that a silent call beside a loud one stays silent. A pool's threads do not
# inherit it: run their work through `contextvars.copy_context().run`.
_listener: ContextVar[_Listener] = ContextVar("listener", default=_LOUD)


# What names are printed in the place of others, such as those of temporary files.
_rename: ContextVar[Callable[[str], str]] = ContextVar("rename", default=lambda text: text)

# Held while a progress bar is shown.
_bar = threading.Lock()


def reports(function: Callable[P, R]) -> Callable[P, R]:
    """Gives a public function its options `verbose` and `progress`, which its signature must have: whether it
    prints, and what to call as work advances. A function that it calls in turn is never louder than it.
    Arguments of a wrong type are refused before it is called."""
    signature = inspect.signature(function)
    assert {"verbose", "progress"} <= set(signature.parameters), function.__name__

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        # What is missing or too much, Python says.
        check_arguments(function, signature.bind(*args, **kwargs).arguments)
        outer = _listener.get()
        verbose: Any = kwargs.get("verbose", True)
        progress: Any = kwargs.get("progress")
        token = _listener.set(
            outer._replace(verbose=outer.verbose and bool(verbose), progress=progress or outer.progress)
        )
        try:
            return function(*args, **kwargs)
        finally:
            _listener.reset(token)

    return call


@contextmanager
def silence() -> Iterator[None]:
    """Nothing is printed inside."""
    token = _listener.set(_listener.get()._replace(verbose=False))
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def on_stderr() -> Iterator[None]:
    """What is printed inside goes to standard error; standard output is for data."""
    token = _listener.set(_listener.get()._replace(stderr=True))
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def renaming(change: Callable[[str], str]) -> Iterator[None]:
    """Lines that are printed inside pass through a function."""
    outer = _rename.get()
    token = _rename.set(lambda text: outer(change(text)))
    try:
        yield
    finally:
        _rename.reset(token)


@contextmanager
def answering() -> Iterator[None]:
    """Inside, what `answer` is given is printed whatever else is silent: somebody typed a question."""
    token = _listener.set(_listener.get()._replace(answers=True))
    try:
        yield
    finally:
        _listener.reset(token)


def _console() -> Console:
    return errors if _listener.get().stderr else console


def answer(renderable: RenderableType) -> None:
    """Prints what a command exists to print: a text, a table. `--quiet` does not suppress it; it does
    silence a Python function that is called with `verbose=False`."""
    if _listener.get().verbose or _listener.get().answers:
        # Brackets in a text are no markup; those in tables are escaped where they must be.
        console.print(renderable, markup=False if isinstance(renderable, str) else None)


def say(message: str) -> None:
    """Prints a line; brackets in it are text, not markup."""
    if _listener.get().verbose:
        _console().print(_rename.get()(message), markup=False)


def note(message: str, kind: str = "note") -> None:
    """Prints a line behind a coloured word: `note`, `warning`, `left out`."""
    if _listener.get().verbose:
        _console().print(Text.assemble((f"{kind}:", "yellow"), f" {_rename.get()(message)}"))


def show(renderable: RenderableType, asked: bool = False) -> None:
    """Prints a table or another of rich's objects, wider than the terminal where numbers would be cut; where
    it was `asked` for, as `answer` does."""
    if _listener.get().verbose or (asked and _listener.get().answers):
        target = _console()
        needed = Measurement.get(target, target.options.update(width=10**4), renderable).minimum
        if needed > target.width:
            target = Console(
                file=target.file, width=needed, soft_wrap=True, force_terminal=target.is_terminal
            )
        target.print(renderable)


def heading(title: str) -> None:
    """Prints a rule with a title."""
    if _listener.get().verbose:
        _console().rule(title)


def is_interactive() -> bool:
    """Whether progress bars are seen: a terminal, and not silent."""
    return _console().is_terminal and _listener.get().verbose


def track(items: Iterable[T], description: str, total: int) -> Iterator[T]:
    """The items, with a progress bar and an estimate on a terminal."""
    with progress(description, total) as advance:
        for item in items:
            yield item
            advance(1)


@contextmanager
def _release(held: bool) -> Iterator[None]:
    try:
        yield
    finally:
        if held:
            _bar.release()


@contextmanager
def progress(
    description: str, total: float, done: float = 0.0, every: float | None = None
) -> Iterator[Advance]:
    """Yields a function `advance(amount, note)` that advances a progress bar with an estimate, shown on a
    terminal with the note behind it, and calls the caller's `progress`. `done` is what was done before. Where
    no bar is seen, a line with an estimate goes to standard error at most `every` so many seconds, if
    given."""
    listener = _listener.get()
    columns = [
        *rich.progress.Progress.get_default_columns(),
        rich.progress.TimeElapsedColumn(),
        rich.progress.TextColumn("{task.fields[note]}"),
    ]
    # A terminal shows one bar at a time; work inside other work, and in other threads, goes without.
    shown = is_interactive() and _bar.acquire(blocking=False)
    bar = rich.progress.Progress(*columns, console=_console(), transient=True, disable=not shown)
    with _release(shown), bar:
        task = bar.add_task(description, total=total, note="")
        bar.update(task, completed=done)
        begun, before = time.monotonic(), done
        told = begun

        def advance(amount: float, note: str = "", /) -> None:
            nonlocal done, told
            done += amount
            now = time.monotonic()
            if every is not None and listener.verbose and not is_interactive() and now - told >= every:
                told = now
                left = (now - begun) * (total - done) / max(done - before, 1e-9)
                errors.print(f"{description}: {done / max(total, 1e-9):.0%}, about {_in_words(left)} left")
            bar.update(task, advance=amount, note=note)
            if listener.progress is not None:
                listener.progress(description, done, total)

        yield advance


def _in_words(seconds: float) -> str:
    """A time, to the precision of an estimate."""
    if seconds < 90:
        return f"{max(seconds, 0):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
