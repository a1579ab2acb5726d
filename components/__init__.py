"""One Pulumi component per noun. Each gets its slice of the plan; none reads config, disk or network.

Every component has a constant type token `blockchain:<module>:<Noun>`, one typed Args object, children
with `parent=self`, outputs as typed attributes, and registers them.
"""
