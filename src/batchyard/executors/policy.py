"""What a yard lets a job have of the machine, and what happens when the machine refuses.

Shared by the drivers. How a driver degrades a feature lives with that driver.
"""

from typing import Literal

import msgspec

Verdict = Literal["allow", "degrade", "deny"]
"""`allow`: pass it on; if the host refuses, the attempt fails with the host's reason.
`degrade`: pass on as much as the host grants, and say on the job what was lost.
`deny`: an attempt that asks for it fails to start."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """One verdict per feature that reaches beyond the job's own sandbox."""

    privileged: Verdict = "degrade"
    ulimits: Verdict = "degrade"
    devices: Verdict = "degrade"
    volumes: Verdict = "degrade"
    user: Verdict = "degrade"
