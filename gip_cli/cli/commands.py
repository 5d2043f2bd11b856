"""Commands as typer knows them, and the values that none of them takes."""

from __future__ import annotations

import re
from os.path import lexists
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from gip_cli.errors import UsageError
from gip_cli.interrupts import put_off

# How the help calls a file or folder: only their names may be of any bytes.
_FILES = re.compile(r"INPUT|POOL|OUT|PATH|DIR|(NAME|OTHER)\.npy|SHARES|FILE.*")
_MAY_BE_EMPTY = "prompt_prefix"  # so it leaves out the model's own
_LARGEST = 2**40  # beyond all rows and tokens there are, and floats still divide it exactly
_NOT_UTF8 = re.compile("[\ud800-\udfff]")  # what Python makes of an argument's other bytes


def _untyped(parameters: list[Any]) -> list[Any]:
    """The same, but the help shows no type for flags, which take none."""
    for parameter in parameters:
        if isinstance(parameter, TyperOption) and parameter.is_flag:
            parameter.metavar = ""
    return parameters


class Commands(TyperGroup):
    """`gip` itself."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _untyped(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Errors say of a command's option where it goes."""
        given = [*args]  # parsing uses them up
        try:
            return super().parse_args(ctx, args)
        except typer.TyperException as error:
            option = getattr(error, "option_name", None)
            for name in filter(self.commands.__contains__, given):
                if any(option in one.opts for one in self.commands[name].params):
                    remedy = f"it goes after the command: gip {name} {option}"
                    raise UsageError(error.message, remedy) from None
            raise


class Command(TyperCommand):
    """A command that takes no empty value, which is what a shell makes of an unset variable.

    Nor what cannot be kept or reckoned with: text that is not UTF-8, and integers beyond 2^40.
    """

    def get_params(self, ctx: Any) -> list[Any]:
        return _untyped(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Errors say what is missing, and which options begin as one that is none."""
        given = [*args]  # parsing uses them up
        try:
            return super().parse_args(ctx, args)
        except typer.TyperException as error:
            metavars = [parameter.metavar for parameter in self.params]
            names = [name for parameter in self.params for name in parameter.opts]
            if hasattr(error, "possibilities"):  # of one that is there typer says enough
                option = error.option_name  # type: ignore[attr-defined]
                meant = [name for name in names if name.startswith(option)]
                error.possibilities = meant or error.possibilities
                files = [text for text in given if text.startswith(option) and lexists(text)]
                if files:
                    error.message += f" (for the file of such a name, give ./{files[0]})"
            elif "extra argument" in error.message and "INPUT" in metavars:
                several = f"rows of several files: cat FILES | gip {ctx.info_name} -"
                error.message += f"; an option takes one value, the output goes to -o; {several}"
            elif not error.message and (missing := getattr(error, "param", None)):
                error.message = missing.help
            raise

    def invoke(self, ctx: Any) -> Any:  # typer shows no name for what it hands over
        for parameter in self.params:
            value = ctx.params.get(parameter.name or "")
            values = value if isinstance(value, list | tuple) else [value]
            name = parameter.opts[0] if isinstance(parameter, TyperOption) else parameter.metavar
            if "" in values and parameter.name != _MAY_BE_EMPTY:
                remedy = "give it a value" if parameter.required else "leave it out or give it one"
                raise UsageError(f"{name} is empty", remedy)
            texts = [] if _FILES.fullmatch(parameter.metavar or "") else values
            if any(isinstance(text, str) and _NOT_UTF8.search(text) for text in texts):
                raise UsageError(f"{name} is not UTF-8", "write it in UTF-8")
            if isinstance(value, int) and abs(value) > _LARGEST:
                raise UsageError(f"{name} {value} is too large", f"the largest is {_LARGEST}")
        with put_off():  # amid numpy's first import a signal becomes a traceback of its own making
            import numpy  # noqa: F401
        return super().invoke(ctx)
