"""`oo chat`: sends a message to a model and prints its answer."""

from __future__ import annotations

import sys
from typing import Any

import click

from ._caller import caller, client_at, token_from
from ._output import emit, on_terminal, printable
from ._values import Number, opened


@click.command()
@click.argument("text", required=False)
@click.option("--model", default="gpt-4o-mini", show_default=True, help="The model to ask.")
@click.option("--system", metavar="TEXT", help="What the model is told of its part, before anything is said.")
@click.option(
    "--timeout",
    type=Number(0, min_open=True),
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the answer may stand still.",
)
@caller
def chat(
    text: str | None, model: str, system: str | None, timeout: float, token_file: str | None, base_url: str | None
) -> None:
    """Send a message to a model, and print its answer.

    The answer is printed as it comes. Without TEXT, or with -, the message is read from standard input. The token must
    open a route to an API of OpenAI's kind.

    Example: OO_TOKEN=... oo chat "Hello!"
    """
    from .._core.masking import Mask, StreamMask, cut_off

    token = token_from(token_file)
    messages = [] if system is None else [{"role": "system", "content": system}]
    messages.append({"role": "user", "content": _said() if text in (None, "-") else str(text)})
    hidden, answered = StreamMask(Mask([token])), False
    with (
        client_at(base_url, timeout) as client,
        client.chat_completion(token, messages, model, stream=True) as chunks,
    ):
        try:
            for part in filter(None, map(_text, chunks)):
                answered = True
                _show(hidden.feed(part.encode("utf-8", "surrogatepass")))
        finally:
            # Also if the answer breaks off: the error needs a line of its own.
            _show(cut_off(hidden.finish(), token))
            if answered:
                emit("")
    if not answered:
        raise click.ClickException("the answer is no chat completion with a text")


def _said() -> str:
    from .._core.files import decode_text

    if sys.stdin is None or sys.stdin.isatty():
        raise click.UsageError("say something: oo chat TEXT, or a pipe")
    text = decode_text(opened("-").read())
    if not text.strip():
        raise click.UsageError("there is nothing on standard input to say")
    return text


def _text(chunk: dict[str, Any]) -> str:
    """The text that a chunk adds to the answer; "" if it holds something else, such as the usage."""
    try:
        text = chunk["choices"][0]["delta"]["content"]
    except (KeyError, IndexError, TypeError):
        return ""
    return text if isinstance(text, str) else ""


def _show(said: bytes) -> None:
    text = said.decode("utf-8", "surrogatepass")
    emit(printable(text, kept="\n\t") if on_terminal() else text, newline=False)
