"""Studies that answer the paper's claims on a user's own data: which runs, what they measured, what that says.

Nothing here trains: `mimseg.commands.study` carries the runs out. A report is made of the files of finished runs alone.
"""
