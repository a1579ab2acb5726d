"""The desired state as data: stack file -> settings -> plan -> rendered files.

Nothing here imports pulumi, reads a disk or a network: the same input always gives the same plan.
"""
