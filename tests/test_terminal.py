"""What commands say, to whom."""

import contextvars
import threading

import pytest
from rich.console import Console

from srkd import terminal
from srkd.terminal import Progress, note, progress, reports, say, silence, track


@reports
def verb(action, *, verbose: bool = True, progress: Progress | None = None):
    return action()


def test_a_verb_is_loud_unless_told_otherwise(capsys):
    verb(lambda: say("[one] line"))
    verb(lambda: note("two"), verbose=False)
    # Never louder than what calls it.
    verb(lambda: verb(lambda: say("three"), verbose=True), verbose=False)
    with silence():
        verb(lambda: say("four"))
    verb(lambda: note("five", "warning"))
    assert capsys.readouterr().out == "[one] line\nwarning: five\n"


def test_progress_is_told_to_the_caller():
    seen = []
    verb(lambda: list(track("abc", "letters", 3)), progress=lambda *words: seen.append(words))
    assert seen == [("letters", done, 3) for done in (1, 2, 3)]
    # A verb inside another tells the outer caller.
    verb(lambda: verb(lambda: list(track("a", "one", 1))), progress=lambda *words: seen.append(words))
    assert seen[3:] == [("one", 1, 1)]


def test_silence_is_of_its_thread(capsys):
    inside, outside = threading.Event(), threading.Event()

    def quiet():
        with silence():
            inside.set()
            outside.wait(10)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(quiet,))
    thread.start()
    inside.wait(10)
    say("heard")
    outside.set()
    thread.join()
    assert capsys.readouterr().out == "heard\n"


def test_a_terminal_shows_one_bar_at_a_time(monkeypatch):
    console = Console(force_terminal=True)
    monkeypatch.setattr(terminal, "console", console)
    live = []
    with progress("outer", 2) as outer:
        with progress("inner", 2) as inner:
            inner(1)
            outer(1)
        live.append(terminal._bar.locked())
        with pytest.raises(ZeroDivisionError), progress("broken", 1):
            _ = 1 / 0
    with progress("next", 1) as advance:
        advance(1)
    assert live == [True] and not terminal._bar.locked()


def test_a_line_now_and_then_where_no_bar_is_seen(capsys, monkeypatch):
    """By a clock of our own: 10 s for each tenth."""
    now = [0.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now[0])

    def work(**options):
        with progress("working", 100, **options) as advance:
            for _ in range(10):
                now[0] += 10
                advance(10)

    work(every=30)
    out, error = capsys.readouterr()
    assert out == ""
    assert error.splitlines() == [
        "working: 30%, about 70 s left",
        "working: 60%, about 40 s left",
        "working: 90%, about 10 s left",
    ]
    work()
    with terminal.silence():
        work(every=30)
    assert capsys.readouterr() == ("", "")


def test_what_is_said_beside_data(capsys):
    with terminal.on_stderr():
        terminal.say("a line")
        terminal.note("a note")
    terminal.say("another")
    assert capsys.readouterr() == ("another\n", "a line\nnote: a note\n")
