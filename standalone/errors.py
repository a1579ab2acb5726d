"""What can go wrong, in words that a user can act on."""


class UserError(Exception):
    """Something the user can put right. Its text is shown as it is, without a traceback; the run exits with 1."""


class WrongPassphrase(UserError):
    """The passphrase doesn't open what was encrypted with another one."""


class CommandFailed(Exception):
    """A command of a resource ended badly. The text holds its exit status and the end of its output."""


class Killed(CommandFailed):
    """The command was ended by us (second Ctrl-C); whether it did its work is unknown."""
