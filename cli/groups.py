"""Groups of commands that know what a mistyped word may have meant."""

from collections.abc import Iterator

import click

from ..pipeline.registry import did_you_mean


class NearGroup(click.Group):
    """A group that names the command nearest to one that it does not have, be it in a group below."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the name of the command that ``args`` begin with, the command, and the other arguments.

        Raises:
            click.UsageError: if there is none of that name.
        """
        typed = args[0]
        if typed.startswith("-") or ctx.resilient_parsing or self.get_command(ctx, typed) is not None:
            return super().resolve_command(ctx, args)
        raise click.UsageError(f"No such command {typed!r}.{self._question(ctx, typed)}", ctx)

    def _question(self, ctx: click.Context, typed: str) -> str:
        own = self.list_commands(ctx)
        below = [" ".join(words) for words in self._below(ctx)]
        return (
            did_you_mean(typed, own, begin=" Did")
            or did_you_mean(typed, below, begin=" Did")
            or f" There are {', '.join(own)}."
        )

    def _below(self, ctx: click.Context) -> Iterator[tuple[str, str]]:
        """Yield (group, command) for the commands of the groups in this one."""
        for name in self.list_commands(ctx):
            group = self.get_command(ctx, name)
            if isinstance(group, click.Group):
                yield from ((name, inner) for inner in group.list_commands(ctx))
